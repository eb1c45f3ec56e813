"""The make verbs, and how the environment they need comes about."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERBS = (
    *("help", "setup", "lock", "data", "test", "test-thorough", "smoke", "test-gpu", "check", "docs"),
    *("reproduce-table", "table", "bench"),
)
#: Of Python before 3.13, and from it on.
LOCKS = ("constraints.txt", "constraints-3.13.txt")


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs make with none of this process's settings of it."""
    ours = ("MAKEFLAGS", "MAKELEVEL", "PRESET", "BUDGET", "ARGS", "VENV", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, env=clean)


def setup(folder: Path, **settings: str) -> subprocess.CompletedProcess:
    """Runs scripts/setup.sh of a project in `folder`, and not with the environment that these tests may run in."""
    command = ["/bin/sh", str(folder / "scripts/setup.sh")]
    clean = {name: value for name, value in os.environ.items() if name not in ("VENV", "PYTHON")}
    return subprocess.run(command, capture_output=True, text=True, env=clean | settings)


@pytest.fixture
def project(tmp_path):
    """A project whose lock and package hold nothing, so that setting it up needs no network."""
    folder = tmp_path / "project"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", folder / "scripts")
    shutil.copy(ROOT / "Makefile", folder)
    for lock in LOCKS:
        (folder / lock).write_text("# nothing\n")
    (folder / "pyproject.toml").write_text("broken")
    return folder


def fake(folder: Path, name: str, script: str) -> str:
    """A command that stands in for an interpreter."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_help_is_the_default_and_lists_every_verb():
    shown = make()
    assert shown.returncode == 0
    assert shown.stdout == make("help").stdout
    assert tuple(re.findall(r"^  ([a-z-]+)  +\w", shown.stdout, re.M)) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_can_run_with_an_interpreter_that_is_there(verb):
    planned = make("--dry-run", verb, f"SSM_BENCH_PYTHON={sys.executable}")
    assert planned.returncode == 0, planned.stderr
    assert "setup.sh" not in planned.stdout


def test_reproduce_table_hands_its_variables_on():
    planned = make("-n", "reproduce-table", "PRESET=budget", "BUDGET=2h", "ARGS=--models s5", "SSM_BENCH_PYTHON=python")
    assert planned.stdout.strip() == "python -m ssm_bench sweep --preset budget --budget 2h --models s5"
    assert make("-n", "reproduce-table", "SSM_BENCH_PYTHON=python").stdout.strip().endswith("sweep --preset quick")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("help", "lock")])
def test_a_verb_sets_up_its_environment_first(verb, project):
    planned = make("-n", verb, folder=project)
    assert planned.returncode == 0, planned.stderr
    assert "scripts/setup.sh" in planned.stdout.splitlines()[0]


def test_the_interpreter_of_a_version_is_found(tmp_path):
    # A command that is there and does not work, as those of pyenv are for versions that are not selected.
    fake(tmp_path, "python3.13", "exit 127")
    hidden = tmp_path / "versions" / "3.13.9" / "bin"
    hidden.mkdir(parents=True)
    (hidden / "python").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "PYENV_ROOT": str(tmp_path)}

    def found(version):
        script = ["/bin/sh", str(ROOT / "scripts/python.sh"), version]
        done = subprocess.run(script, capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout, done.stderr

    assert found("3.13") == (0, f"{hidden / 'python'}\n", "")
    assert found("3.999") == (1, "", "error: no Python 3.999 here\n")


def test_an_old_python_is_refused_in_one_sentence(project, tmp_path):
    old = fake(tmp_path, "python3", 'if [ "$1" = -V ]; then echo Python 3.8.1; else exit 1; fi')
    refused = setup(project, PYTHON=old)
    assert refused.returncode == 2
    assert refused.stderr == f"error: PYTHON={old} is Python 3.8.1; ssm_bench needs Python 3.11 or newer\n"
    refused = setup(project, PATH=f"{tmp_path}:/nowhere", PYTHON="")
    assert "3.11" in refused.stderr


def test_a_missing_python_is_refused(project):
    refused = setup(project, PYTHON="python-of-nobody")
    assert refused.returncode == 2
    assert refused.stderr == "error: PYTHON=python-of-nobody is not a command\n"


def test_a_python_without_venv_is_refused(project, tmp_path):
    bare = fake(tmp_path, "bare", 'case "$2" in *ensurepip*) exit 1;; esac')
    refused = setup(project, PYTHON=bare)
    assert refused.returncode == 2
    assert "venv" in refused.stderr
    assert not (project / ".venv").exists()


def test_a_folder_of_other_files_is_left_alone(project):
    (project / "mine").mkdir()
    (project / "mine/thesis.tex").write_text("years")
    refused = setup(project, VENV="mine", PYTHON=sys.executable)
    assert refused.returncode == 2
    assert (project / "mine/thesis.tex").read_text() == "years"


def test_a_failed_setup_leaves_no_stamp_and_the_next_one_starts_over(project):
    (project / ".venv").mkdir()
    (project / ".venv/pyvenv.cfg").write_text("half written")
    (project / ".venv/.installed").touch()
    for lock in LOCKS:
        (project / lock).write_text("not a requirement\n")
    failed = setup(project, PYTHON=sys.executable)
    assert failed.returncode != 0
    # Each Python has its lock.
    assert f"(from line 1 of {LOCKS[sys.version_info >= (3, 13)]})" in failed.stderr
    assert not (project / ".venv/.installed").exists()
    assert (project / ".venv/bin/python").exists()


def test_checks_hold_records_tables_and_figures_together():
    planned = make("-n", "check", "SSM_BENCH_PYTHON=python").stdout.splitlines()
    assert planned[-2:] == ["python -m ssm_bench table --check", "python -m ssm_bench verify"]


def test_continuous_integration_runs_the_checks_and_the_tests():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    lines = script.read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in lines
    assert {"make check", "make test"} <= set(lines)
    assert any("make smoke" in line for line in lines)
