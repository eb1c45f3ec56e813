"""ssm-bench and a plug-in, built and installed as a user would, work from any folder."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("ssm_bench", "experiments", "pyproject.toml", "README.md", "LICENSE")

#: Small enough that compiling takes most of the time.
SMALL = ("--config.model.d_model=8", "--config.model.layers=1", "--config.train.steps=10")


def run(*command: object, folder: Path) -> str:
    """The output of a command that succeeds, run where no checkout is found."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def build(kind: str, source: Path, into: Path) -> Path:
    """An sdist or a wheel of a folder, by the build backend alone: nothing is downloaded."""
    script = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(into)!r}))"
    return into / run(sys.executable, "-c", script, folder=source).splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist of ssm-bench, and the wheels that are built from it and from the plug-in."""
    folder = tmp_path_factory.mktemp("built")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / "source" / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, folder / "source")
    shutil.copytree(ROOT / "examples" / "plugin", folder / "plugin", ignore=ignore)
    sdist = build("sdist", folder / "source", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return sdist, build("wheel", unpacked, folder), build("wheel", folder / "plugin", folder)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The command `ssm-bench` of a new environment that holds both wheels, and all else from the present one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    # Packages of the present environment are found, but not those that it installed as editable.
    here = Path(importlib.util.find_spec("jax").origin).parents[1]
    (site / "present.pth").write_text(f"{here}\n")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile")
    run(*pip, "--quiet", "--disable-pip-version-check", "--ignore-installed", *built[1:], folder=folder)
    return folder / "bin" / "ssm-bench"


def test_a_wheel_holds_every_module_and_every_experiment(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ssm_bench").rglob("*.py")}
    experiments = {f"ssm_bench/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.py")}
    assert modules | experiments <= names
    page = {path for kind in ("html", "css", "js") for path in (ROOT / "ssm_bench/report/page").glob(f"*.{kind}")}
    assert {"ssm_bench/report/published.csv", *(path.relative_to(ROOT).as_posix() for path in page)} <= names
    assert not [name for name in names if name.startswith(("tests/", "results/", "build/"))]


@pytest.mark.thorough
def test_what_is_installed_works_from_an_empty_folder(installed, tmp_path):
    """Few commands, since each one starts Python and JAX."""
    models = run(installed, "list", "models", folder=tmp_path)
    assert {"s5", "lru", "ema"} <= {line.split()[0] for line in models.splitlines()}
    assert list(tmp_path.iterdir()) == []
    train = ("train", "--model", "ema", "--task", "listops", "--preset", "quick", "--data", "synthetic", *SMALL)
    assert "data: synthetic" in run(installed, *train, folder=tmp_path)
    (path,) = (tmp_path / "results" / "runs" / "quick" / "listops" / "ema").iterdir()
    record = json.loads(path.read_text())
    assert record["status"] == "ok" and record["model"]["title"] == "EMA"
    assert record["revision"]["commit"].startswith("version ") and not record["revision"]["dirty"]
    # No model has a recipe for the task of a plug-in.
    sweep = ("sweep", "--preset", "quick", "--jobs", "1", "--models", "lru", "--tasks", "majority")
    run(installed, *sweep, *SMALL, folder=tmp_path)
    table = (tmp_path / "results" / "tables" / "quick-strict.md").read_text()
    assert "Majority" in table and "EMA" in table and "LRU" in table
    assert "wrote" in run(installed, "table", folder=tmp_path)
