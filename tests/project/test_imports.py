"""Tables are made without JAX; `make check` holds the contracts of imports."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_data_and_tasks_load_without_jax():
    script = """
import importlib, pkgutil, sys
for name in ("record", "report", "data", "tasks"):
    package = importlib.import_module(f"ssm_bench.{name}")
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            # The one package that is installed only where data are downloaded or exported.
            assert error.name == "tensorflow_datasets", error
    assert not {"jax", "flax", "tensorflow"} & set(sys.modules), name
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_the_table_verb_loads_without_jax(tmp_path):
    script = f"""
import sys
from ssm_bench.cli import main
code = main(["table", "--results", {str(tmp_path)!r}])
print(code, "jax" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split()[-1] == "False", found.stdout + found.stderr
