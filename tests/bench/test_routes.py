"""The comparison of routes to a GPU, on a machine that has none."""

import os
import subprocess
import sys
from pathlib import Path

from ssm_bench.record import store

ROOT = Path(__file__).parents[2]

# Float32 sums over 16 steps.
FLOAT32 = 1e-5


def routes(*arguments):
    """The script in a process of its own: it sets variables of the environment."""
    command = [sys.executable, str(ROOT / "scripts/routes.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


def test_what_runs_is_recorded_and_what_does_not_is_skipped(tmp_path):
    ended = routes("--shapes", "2x16x4x3", "--results", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(" is skipped: it needs ") == 3
    (record,) = store.read_all_speed(tmp_path)
    assert (record.name, record.operation) == ("routes-diagonal_ssm-xla-cpu", "diagonal_ssm")
    value = {m.metric: m.value for m in record.measurements}
    assert value["compile_seconds"] > 0 and value["forward_backward_ms"] > 0
    assert max(value["value_error"], value["gradient_error"]) < FLOAT32


def test_bad_input_is_refused():
    ended = routes("--routes", "cuda")
    assert ended.returncode == 2
    assert "cuda" in ended.stderr and "mosaic" in ended.stderr
