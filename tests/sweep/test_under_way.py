"""Cells that another process trains: a sweep comes back to them once, and --status shows them."""

import subprocess
import sys
from pathlib import Path

import pytest

from ssm_bench.sweep import cells
from ssm_bench.training import run as run_module

SWEEP = (
    *("sweep", "--preset", "quick", "--data", "synthetic", "--jobs", "1", "--no-table", "--tasks", "text"),
    *("--config.train.steps=4", "--config.train.evaluations=2", "--config.train.chunk=2", "--config.model.d_model=8"),
    *("--config.model.layers=1", "--config.task.max_length=64", "--config.task.examples=100"),
)

HOLD = """
import sys, time
from pathlib import Path
from ssm_bench.training.checkpoint import reserved
with reserved([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def hold():
    """Lets another process hold the lock of a run: its process."""
    started = []

    def start(folder):
        started.append(subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_sweep_comes_back_to_a_cell_whose_process_died(command, tmp_path, monkeypatch, hold):
    real, holders = cells.run, []

    def run(config, dataset, **rest):
        if config.model.name == "lru" and not holders:
            folder = run_module.checkpoint_folder(config, dataset, tmp_path / "checkpoints")
            holders.append(hold(str(folder)))
        if config.model.name == "transformer":
            holders[0].kill()
            holders[0].wait()
        return real(config, dataset, **rest)

    monkeypatch.setattr(cells, "run", run)
    code, out, err = command(*SWEEP, "--models", "lru,transformer")
    assert (code, out) == (0, "2 ok\n")
    first, *_, last = [line for line in err.splitlines() if line.startswith("[1/2] lru text seed 0: ")]
    assert f"under way in process {holders[0].pid} on " in first and "ok, test" in last


def test_workers_come_back_to_a_cell_whose_process_ended(tmp_path, monkeypatch):
    from tests.sweep.test_workers import run as run_workers

    monkeypatch.syspath_prepend(Path(__file__).parent)
    import stand_in

    monkeypatch.setattr(cells, "holder", lambda cell, *_: "4711 on node3" if cell.model == "held" else "")
    reached = run_workers(stand_in, tmp_path, "held", "freed", "good")
    assert reached == {"held": "under way", "freed": "ok", "good": "ok"}
