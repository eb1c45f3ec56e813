"""Cells that another process trains: a sweep comes back to them once, and --status shows them."""

import subprocess
import sys

import pytest

from ssm_bench.record import config_hash, run_name
from ssm_bench.sweep import cells, status
from ssm_bench.sweep.forecast import Outlook
from ssm_bench.sweep.plan import Group
from ssm_bench.sweep.recipe import when_opened
from ssm_bench.training import run as run_module
from ssm_bench.training.identity import recipe
from tests.sweep.test_workers import run as run_workers

pytestmark = pytest.mark.usefixtures("shared_programs")

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
    code, out, _ = command(*SWEEP, "--models", "lru,transformer,s5", "--status")
    assert code == 0 and "\n3 cells: 2 done, 0 under way, 0 interrupted, 0 failed, 1 missing\n" in out


def test_workers_come_back_to_a_cell_whose_process_ended(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "holder", lambda cell, *_: "4711 on node3" if cell.model == "held" else "")
    reached = run_workers(stand_in, tmp_path, "held", "freed", "good")
    assert reached == {"held": "under way", "freed": "ok", "good": "ok"}


def test_the_state_of_a_cell_is_that_of_its_record_unless_a_process_trains_it(tmp_path, hold):
    group = Group(group="one", models=["lru"], tasks=["text"], preset="quick", data="auto", seeds=[*range(7)])
    known = ("ok", "partial", "error", "diverged", "oom", "missing", "partial")
    planned = [(group, Outlook(cell, known[cell.seed], 0.5, seconds=None, device=None)) for cell in group.cells]
    # The data may be prepared on another machine: their checksum is not known here.
    config = when_opened(group.choices.config(group.cells[-1]))[-1]
    name = run_name(config_hash(recipe(config)), "0123456789abcdef", [6])
    process = hold(str(tmp_path / "quick" / "text" / "lru" / name))
    _, *rows, totals = status.report(planned, tmp_path).splitlines()
    states = [row.split()[4] for row in rows]
    assert states == ["done", "interrupted", "failed", "failed", "failed", "missing", "under"]
    assert f"under way    50 %  process {process.pid} on " in rows[-1]
    assert totals == "7 cells: 1 done, 1 under way, 1 interrupted, 3 failed, 1 missing"
    process.kill()
    process.wait()
    assert "0 under way, 2 interrupted" in status.report(planned, tmp_path)
