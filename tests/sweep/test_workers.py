"""Workers share cells, die, stop and leave as they should; what they run is a stand-in, but for one sweep."""

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssm_bench.cli import main
from ssm_bench.record import store
from ssm_bench.sweep import workers
from ssm_bench.sweep.cells import Cell
from ssm_bench.sweep.workers import Place
from ssm_bench.training.stop import Stop

#: Seconds that anything here may take on a busy machine.
PATIENCE = 240.0


def cells(*models):
    return [Cell(model=m, task="text", seed=s) for s, m in enumerate(models)]


def run(stand_in, notes, *models, jobs=2, deadline=None, ahead=False):
    """The statuses of the cells that were reached, by model."""
    with Stop(deadline) as stop:
        runner = stand_in.StandIn(notes)
        reached = workers.sweep(cells(*models), runner, stop, [Place()] * jobs, stand_in.nothing, ahead)
    return {cell.model: status for cell, status in reached}


def wait_for(holds):
    """Waits until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_worker_that_dies_is_a_failure_and_the_others_go_on(stand_in, tmp_path, capfd):
    reached = run(stand_in, tmp_path, "killed", "hopeless", "fine", "good")
    assert reached == {"killed": "error", "hopeless": "error", "fine": "ok", "good": "ok"}
    assert (tmp_path / "killed-0-failed").read_text() == "the process of this run ended early: killed by SIGKILL"
    lines = capfd.readouterr().err.splitlines()
    assert "[1/4] killed text seed 0: the process of this run ended early: killed by SIGKILL" in lines
    assert lines.count("[2/4] hopeless text seed 1: the process of this run ended early: exit code 3") == 2


def test_a_request_to_stop_reaches_every_worker_and_starts_nothing_new(stand_in, tmp_path):
    def ask():
        wait_for(lambda: len(list(tmp_path.glob("long-*-started"))) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    asking = threading.Thread(target=ask)
    asking.start()
    assert run(stand_in, tmp_path, "long", "long", "never") == {"long": "partial"}
    asking.join()
    assert len(list(tmp_path.glob("long-*-left"))) == 2
    assert not (tmp_path / "never-2-started").exists()


def test_the_next_cell_is_compiled_while_one_trains(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "AHEAD_AFTER", 0.1)
    # A process that dies while it compiles does no harm: the death of "killed" is that of its run.
    reached = run(stand_in, tmp_path, "until_compiled", "until_compiled", "killed", "fine", jobs=1, ahead=True)
    assert reached == {"until_compiled": "ok", "killed": "error", "fine": "ok"}
    compiled = {path.name for path in tmp_path.glob("*-compiled")}
    assert {
        "until_compiled-1-compiled",
        "killed-2-compiled",
    } <= compiled and "until_compiled-0-compiled" not in compiled


def test_nothing_is_compiled_ahead_unless_asked(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "AHEAD_AFTER", 0.0)
    assert run(stand_in, tmp_path, "fine", "good", jobs=1) == {"fine": "ok", "good": "ok"}
    assert not list(tmp_path.glob("*-compiled"))


def test_a_deadline_reaches_every_worker(stand_in, tmp_path, monkeypatch):
    # A busy machine may take longer to start a worker.
    monkeypatch.setattr(workers, "GRACE", 10 * PATIENCE)
    assert run(stand_in, tmp_path, "long", "never", jobs=1, deadline=Stop.MARGIN + 4) == {"long": "partial"}


def test_workers_leave_while_they_compile(stand_in, tmp_path):
    def ask():
        wait_for(lambda: len(list(tmp_path.glob("compiling-*-started"))) == 2)
        os.kill(os.getpid(), signal.SIGUSR1)

    asking = threading.Thread(target=ask)
    asking.start()
    assert run(stand_in, tmp_path, "compiling", "compiling", "never") == {"compiling": "partial"}
    asking.join()
    left = list(tmp_path.glob("compiling-*-left"))
    assert [path.read_text() for path in left] == ["stopped by SIGTERM"] * 2


def test_workers_that_do_not_leave_at_the_deadline_are_killed(stand_in, tmp_path, capfd):
    def pass_the_deadline():
        wait_for((tmp_path / "stuck-0-started").exists)
        stop.end = time.monotonic() - workers.GRACE - 1

    with Stop() as stop:
        waiting = threading.Thread(target=pass_the_deadline)
        waiting.start()
        assert not workers.sweep(cells("stuck"), stand_in.StandIn(tmp_path), stop, [Place()], stand_in.nothing)
        waiting.join()
    assert "deadline: 1 of 1 workers did not exit in time and are killed" in capfd.readouterr().err


def test_workers_leave_when_the_sweep_is_killed(tmp_path):
    script = f"""
from pathlib import Path
import stand_in
from ssm_bench.sweep import workers
from ssm_bench.sweep.cells import Cell
from ssm_bench.training.stop import Stop
cells = [Cell(model="long", task="text", seed=s) for s in (0, 1)]
workers.sweep(cells, stand_in.StandIn(Path({str(tmp_path)!r})), Stop(), [workers.Place()] * 2, stand_in.nothing)
"""
    sweep = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parent)
    wait_for(lambda: len(list(tmp_path.glob("long-*-started"))) == 2)
    sweep.kill()
    sweep.wait()
    wait_for(lambda: len(list(tmp_path.glob("long-*-left"))) == 2)


def test_signals_to_the_whole_group_end_no_worker_that_saves(tmp_path):
    script = f"""
from pathlib import Path
import stand_in
from ssm_bench.sweep import workers
from ssm_bench.sweep.cells import Cell
from ssm_bench.training.stop import Stop
cells = [Cell(model="saving", task="text", seed=s) for s in (0, 1, 2)]
with Stop() as stop:
    runner = stand_in.StandIn(Path({str(tmp_path)!r}))
    reached = workers.sweep(cells, runner, stop, [workers.Place()] * 2, stand_in.nothing)
print(*[status for _, status in reached])
"""
    command = [sys.executable, "-c", script]
    folder = Path(__file__).parent
    sweep = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(lambda: len(list(tmp_path.glob("saving-*-started"))) == 2)
        # As `timeout` and batch systems do; the pause is for the workers to begin to save.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU, signal.SIGHUP):
            os.killpg(sweep.pid, number)
            time.sleep(0.1)
        printed, _ = sweep.communicate(timeout=PATIENCE)
    finally:
        sweep.kill()
    assert sweep.returncode == 0 and printed.split() == ["partial", "partial"]
    assert len(list(tmp_path.glob("saving-*-left"))) == 2


def test_a_worker_that_is_ended_before_it_began_has_not_reached_its_cell(stand_in, tmp_path):
    def ask():
        wait_for((tmp_path / "waiting").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    with Stop() as stop:
        asking.start()
        prepare = partial(stand_in.wait_for_ever, tmp_path / "waiting")
        assert not workers.sweep(cells("fine"), stand_in.StandIn(tmp_path), stop, [Place()], prepare)
        asking.join()
    assert not list(tmp_path.glob("fine-*"))


def test_a_sweep_of_two_workers_leaves_the_same_records_as_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ("--config.train.steps=4", "--config.model.d_model=8", "--config.model.layers=1")
    data = ("--data", "synthetic", "--config.task.max_length=64", "--config.task.examples=100")
    sweep = ("sweep", "--models", "transformer,lru", "--tasks", "text", "--no-table", *sizes, *data)
    for jobs in ("1", "2"):
        assert main([*sweep, "--jobs", jobs, "--results", jobs, "--checkpoints", f"{jobs}/checkpoints"]) == 0
        assert "2 ok" in capsys.readouterr().out
    one, two = ({r.model.name: (r.config_hash, r.result) for r in store.read_all(jobs)} for jobs in ("1", "2"))
    assert one.keys() == two.keys()
    for name in one:
        assert one[name][0] == two[name][0]
        assert one[name][1].test_accuracy == pytest.approx(two[name][1].test_accuracy, abs=0.05)


@pytest.mark.parametrize("jobs", ["0", "two", "-1", "9" * 5000])
def test_a_wrong_number_of_jobs_is_one_sentence(jobs, capsys):
    assert main(["sweep", f"--jobs={jobs}"]) == 2
    assert capsys.readouterr().err == f"error: --jobs takes a whole number from 1, or auto; got {jobs!r}\n"


def test_absurdly_many_jobs_are_one_sentence(capsys):
    assert main(["sweep", "--jobs=1025"]) == 2
    assert capsys.readouterr().err == "error: --jobs is at most 1024; got 1025\n"


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores, with a CUDA plugin and two GPUs if asked for."""

    def make(gpus, **settings):
        plugins = [SimpleNamespace(name="xla_cuda13")] if gpus else []
        listed = "".join(f"GPU {i}: an accelerator (UUID: GPU-{i})\n" for i in range(gpus))
        monkeypatch.setattr(workers, "entry_points", lambda group: plugins)
        monkeypatch.setattr(workers.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=listed))
        monkeypatch.setattr(workers, "cores", lambda: [0, 1, 2, 3])
        for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return make


def test_workers_get_a_gpu_each(machine):
    machine(gpus=2)
    assert [(p.gpu, p.memory) for p in workers.places()] == [("0", None), ("1", None)]
    assert [p.gpu for p in workers.places(1)] == ["0"]
    assert [(p.gpu, p.memory) for p in workers.places(3)] == [("0", 0.45), ("1", 0.45), ("0", 0.45)]
    machine(gpus=2, CUDA_VISIBLE_DEVICES="5")
    assert [p.gpu for p in workers.places()] == ["5"]


def test_workers_that_share_a_gpu_say_so_in_their_records(machine, monkeypatch):
    machine(gpus=1)
    for name in ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", "SSM_BENCH_SHARED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    workers.places(1)[0].settle()
    assert "SSM_BENCH_SHARED" not in os.environ
    workers.places(2)[0].settle()
    assert os.environ["SSM_BENCH_SHARED"] == "1"


@pytest.mark.parametrize("settings", [{"JAX_PLATFORMS": "cpu"}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_gpus_that_are_hidden_are_not_used(machine, settings):
    machine(gpus=2, **settings)
    assert {p.gpu for p in workers.places()} == {None}


def test_workers_get_cores_of_their_own(machine):
    machine(gpus=0)
    assert [p.cores for p in workers.places()] == [(0,), (1,), (2,), (3,)]
    assert [p.cores for p in workers.places(2)] == [(0, 2), (1, 3)]
    assert [p.cores for p in workers.places(5)] == [(0,), (1,), (2,), (3,), (0,)]
