"""Imports point one way, and tables are made without JAX."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_hold():
    contracts = "from importlinter.cli import lint_imports_command as main; main()"
    command = [sys.executable, "-c", contracts, "--no-logo", "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


@pytest.mark.parametrize("package", ["record", "report", "data", "tasks"])
def test_a_package_loads_without_jax(package):
    script = f"""
import importlib, pkgutil, sys
import ssm_bench.{package} as package
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    try:
        importlib.import_module(found.name)
    except ModuleNotFoundError as error:
        # The one package that is installed only where data are downloaded or exported.
        assert error.name == "tensorflow_datasets", error
print(*sorted({{"jax", "flax", "tensorflow"}} & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == []


def test_the_table_verb_loads_without_jax(tmp_path):
    script = f"""
import sys
from ssm_bench.cli import main
code = main(["table", "--results", {str(tmp_path)!r}])
print(code, "jax" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split()[-1] == "False", found.stdout + found.stderr
