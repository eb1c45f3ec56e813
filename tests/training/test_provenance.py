"""Where a number comes from: the commit, whether the code is that of the commit, and what memory a program takes."""

import base64
import hashlib
import importlib.metadata
import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import pytest

from ssm_bench.training import provenance


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package in a small checkout, all of it committed."""
    for variable in ("SSM_BENCH_REVISION", "SSM_BENCH_EXPERIMENTS"):
        monkeypatch.delenv(variable, raising=False)
    for name in ("package/ops/scan.py", "experiments/s5.py", "results/record.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "all")
    return tmp_path / "package"


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_code_of_a_commit(package):
    assert provenance.revision(package) == {"commit": git(package, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("package/ops/scan.py", True),
        ("package/ops/new.py", True),
        ("experiments/new.py", True),
        ("package/ops/scan.pyc", False),
        ("results/record.json", False),
        ("results/new.json", False),
    ],
)
def test_code_that_is_in_no_commit(package, name, dirty):
    (package.parent / name).write_text("changed")
    assert provenance.revision(package)["dirty"] is dirty


def test_a_repository_around_the_project_is_not_its_own(package, tmp_path):
    """As where sources are unpacked, or a wheel is installed, in an ignored folder of another project."""
    inside = tmp_path / "ignored" / "project" / "package"
    shutil.copytree(package, inside)
    (tmp_path / ".gitignore").write_text("ignored\n")
    assert provenance.revision(inside) == {"commit": "unknown", "dirty": True}


def test_a_repository_that_does_not_track_the_package_is_not_its_own(package):
    git(package, "rm", "-r", "--cached", "--quiet", ".")
    git(package, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "none of it")
    assert provenance.revision(package) == {"commit": "unknown", "dirty": True}


def test_a_repository_named_by_the_environment_is_not_asked(package, tmp_path_factory, monkeypatch):
    commit = git(package, "rev-parse", "HEAD")
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert provenance.revision(package)["commit"] == commit


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The folder of a package as pip installs it."""
    monkeypatch.delenv("SSM_BENCH_REVISION", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    package, facts = tmp_path / "ssm_bench", tmp_path / "ssm_bench-1.2.dist-info"
    (package / "ops").mkdir(parents=True)
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: ssm_bench\nVersion: 1.2\n")
    lines = []
    for name in ("__init__.py", "ops/scan.py"):
        (package / name).write_text(name)
        digest = base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"ssm_bench/{name},sha256={digest},{len(name)}\n")
    (facts / "RECORD").write_text("".join(lines))
    found = importlib.metadata.Distribution.at(facts)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: found)
    return package


def test_an_installed_package_is_its_version(installed):
    assert provenance.revision(installed) == {"commit": "version 1.2", "dirty": False}


@pytest.mark.parametrize("name", ["ops/scan.py", "ops/new.py"])
def test_an_installed_package_that_was_edited_is_dirty(installed, name):
    (installed / name).write_text("changed")
    assert provenance.revision(installed) == {"commit": "version 1.2", "dirty": True}


def test_an_installed_package_that_lost_a_file_is_dirty(installed):
    (installed / "ops" / "scan.py").unlink()
    assert provenance.revision(installed)["dirty"]


def test_another_copy_of_an_installed_package_is_unknown(installed, tmp_path):
    shutil.copytree(installed, tmp_path / "copy")
    assert provenance.revision(tmp_path / "copy")["commit"] == "unknown"


def code(package):
    provenance.code.cache_clear()
    return provenance.code(package)


def test_code_is_its_content(package, tmp_path_factory):
    before = code(package)
    elsewhere = tmp_path_factory.mktemp("copy") / "package"
    shutil.copytree(package, elsewhere)
    assert code(elsewhere) == before
    (package / "notes.txt").write_text("no code")
    assert code(package) == before
    (package / "ops" / "scan.py").write_text("changed")
    changed = code(package)
    assert changed != before
    (package / "ops" / "scan.py").rename(package / "ops" / "other.py")
    assert code(package) not in (before, changed)
    provenance.code.cache_clear()


def test_experiments_of_another_folder_are_in_no_commit(package, monkeypatch):
    monkeypatch.setenv("SSM_BENCH_EXPERIMENTS", str(package))
    assert provenance.revision(package)["dirty"]


def test_a_copy_without_git_is_told_its_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("SSM_BENCH_REVISION", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.revision(tmp_path) == {"commit": "unknown", "dirty": True}
    for told, dirty in (("abc", False), ("abc+dirty", True)):
        monkeypatch.setenv("SSM_BENCH_REVISION", told)
        assert provenance.revision(tmp_path) == {"commit": "abc", "dirty": dirty}


def test_the_package_is_the_whole_of_it():
    assert (provenance.PACKAGE / "ops").is_dir() and (provenance.PACKAGE.parent / "experiments").is_dir()


def test_what_is_donated_is_counted_once():
    x, y = jnp.ones(1000), jnp.ones(1000)
    for donated, arrays in (((), 3), ((0,), 2)):
        compiled = jax.jit(lambda x, y: x + y, donate_argnums=donated).lower(x, y).compile()
        memory = compiled.memory_analysis()
        assert memory is not None
        # Two arguments and a result of 4,000 bytes each; the result takes the place of what is donated.
        assert provenance.needed_memory_bytes(compiled) == arrays * 4000 + memory.temp_size_in_bytes


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("GPU-1, {own}\nGPU-1, 7\n", True),
        ("GPU-1, {own}\nGPU-2, 7\n", False),
        ("GPU-1, {own}\n", False),
        # In a container the driver may list the numbers of another name space.
        ("GPU-1, 7\nGPU-1, 8\n", False),
        ("", False),
    ],
)
def test_a_device_is_shared_with_the_other_processes_that_its_driver_lists(listed, expected, tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{listed.format(own=os.getpid())}'\n".replace("\n'", "\\n'"))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert provenance.shared() == expected
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert not provenance.shared()
