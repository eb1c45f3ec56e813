"""Where a number comes from: the commit, whether the code is that of the commit, and what memory a program takes."""

import subprocess

import jax
import jax.numpy as jnp
import pytest

from ssm_bench.train import provenance


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
