"""Which share of its schedule a cell gets for its time, and what becomes of one that cannot be timed."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep import budget, cells
from ssm_bench.sweep.budget import check_budget, planned_share
from ssm_bench.sweep.cells import Cell, Choices, Runner
from ssm_bench.sweep.progress import Progress
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training.stop import Stop

pytestmark = pytest.mark.usefixtures("shared_programs")

#: Of a schedule of 1,000 steps of 0.75 s, which takes 1,000 s with what is left for compiling.
STEPS, STEP_SECONDS = 1000, 0.75

SMALL = (
    f"--config.train.published_steps={STEPS}",
    "--config.train.batch_size=4",
    "--config.train.chunk=10",
    "--config.model.d_model=8",
    "--config.model.layers=1",
    "--config.task.max_length=64",
    "--config.task.examples=100",
)
CHOICES = Choices(preset="custom", data="synthetic", overrides=SMALL)
CELL = Cell(model="transformer", task="text", seed=0)


@pytest.fixture
def probes(monkeypatch):
    """A stand-in for timing: steps take STEP_SECONDS; the list of what was timed."""
    timed = []

    def probe(config, dataset, *, devices):
        timed.append((config.model.name, config.task.name, devices))
        return STEP_SECONDS

    monkeypatch.setattr(budget, "probe", probe)
    return timed


def share_of(folder, seconds, held_out=0, **rest):
    def at_share(share):
        return resolve("transformer", "text", preset="custom", data="synthetic", overrides=SMALL, share=share, **rest)

    dataset = SimpleNamespace(splits={"validation": range(held_out), "test": range(held_out)})
    return planned_share(at_share(None), dataset, seconds, folder, at_share=at_share, stop=Stop())


def runner(folder, seconds=40.0):
    """One that gives a cell the share that fits: 2 % of its steps, which are 20, and scoring 128 examples."""
    return Runner(choices=CHOICES, results=folder / "results", checkpoints=folder / "checkpoints", seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "share"), [(1, 0.001), (1.9, 0.001), (2, 0.002), (99, 0.07), (100, 0.1), (999, 0.7), (5000, 1.0)]
)
def test_the_largest_share_that_fits_is_taken(tmp_path, probes, seconds, share):
    assert share_of(tmp_path, seconds) == share
    assert probes == [("transformer", "text", 1)]


def test_what_is_scored_takes_its_part_of_the_time(tmp_path, probes):
    # With 100 steps: two evaluations and a test of 100 examples, each 0.4 of one in a batch of four, are 30 steps more.
    assert share_of(tmp_path, 129, held_out=100) == 0.07
    assert share_of(tmp_path / "enough", 131, held_out=100) == 0.1


def test_a_time_in_which_nothing_fits_is_one_sentence(tmp_path, probes, monkeypatch):
    monkeypatch.setattr(budget, "probe", lambda *_, **__: 90.0)
    with pytest.raises(UserError) as refused:
        share_of(tmp_path, 60)
    assert str(refused.value) == (
        "--budget leaves 60 s for transformer on text, but the smallest share, 0.1 % of the schedule, takes "
        "2.0 min here"
    )
    # Nothing is kept of it: the machine may be faster another time.
    monkeypatch.setattr(budget, "probe", lambda *_, **__: 0.075)
    assert share_of(tmp_path, 60) == 0.5


def test_a_share_is_kept_for_every_seed(tmp_path, probes):
    assert share_of(tmp_path, 100) == share_of(tmp_path, 100, seed=7) == 0.1 and len(probes) == 1
    (plan,) = tmp_path.rglob("plan/*.json")
    assert json.loads(plan.read_text()) == {"share": 0.1, "step_seconds": STEP_SECONDS}
    plan.write_text(json.dumps({"share": 0.5, "step_seconds": STEP_SECONDS}))
    assert share_of(tmp_path, 100) == 0.5 and len(probes) == 1


@pytest.mark.parametrize(
    "damage",
    [
        *("", "[]", "{}", "null", "1", '"share"', '{"share": null}', '{"share": "0.5"}', '{"share": true}'),
        *('{"share": 0}', '{"share": 2}', '{"share": NaN}', '{"share": [0.1]}', 100_000 * "[", b"\xff\xfe\x00", "fifo"),
    ],
)
def test_a_damaged_plan_is_no_plan_and_one_line_says_so(tmp_path, caplog, damage):
    plan = tmp_path / "plan.json"
    if damage == "fifo":
        os.mkfifo(plan)
    else:
        plan.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert budget._kept(plan) is None
    assert caplog.messages == [f"the plan {plan} does not contain a share in (0, 1]: choosing a new one"]


def test_a_damaged_plan_is_made_again(tmp_path, probes):
    share_of(tmp_path, 100)
    (plan,) = tmp_path.rglob("plan/*.json")
    plan.write_text("[]")
    for _ in range(2):
        assert share_of(tmp_path, 100) == 0.1 and len(probes) == 2


def test_a_plan_is_written_in_one_stroke(tmp_path, probes, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write the file .*plan.*: No space left on device"):
            share_of(tmp_path, 100)
    assert not list(tmp_path.rglob("plan/*.json"))


def test_two_seeds_that_are_timed_at_once_get_one_share(tmp_path, monkeypatch):
    times = iter([STEP_SECONDS, 10 * STEP_SECONDS])

    def slow(*_, **__):
        step_seconds = next(times)
        time.sleep(0.5)
        return step_seconds

    monkeypatch.setattr(budget, "probe", slow)
    together = threading.Barrier(2)

    def plan(seed):
        together.wait()
        return share_of(tmp_path, 100, seed=seed)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(plan, (0, 1))) == [0.1, 0.1]


@pytest.mark.parametrize(("preset", "why"), [("quick", "a quick run has none"), ("paper", "a paper run uses all")])
def test_a_budget_is_of_schedules_that_may_be_shortened(preset, why):
    with pytest.raises(UserError, match=f"^--budget .*{why}; use --preset budget$"):
        check_budget(resolve("s5", "text", preset=preset))


def test_a_cell_is_run_with_its_share(tmp_path, probes, capsys):
    assert runner(tmp_path).run(CELL, Stop(), Progress("cell")) == "ok"
    (record,) = store.read_all(tmp_path / "results")
    assert record.steps.done == record.steps.planned == 20
    assert "cell (2 % of the schedule): ok" in capsys.readouterr().err


def test_the_failure_of_a_dead_worker_is_replaced_by_the_run_that_follows(tmp_path, probes):
    runner(tmp_path).config_of(CELL, Stop())
    assert runner(tmp_path).fail(CELL, "killed by SIGKILL", Progress("cell")) == "error"
    assert len(probes) == 1
    (failed,) = store.read_all(tmp_path / "results")
    assert failed.status == "error" and failed.message == "killed by SIGKILL" and failed.steps.planned == 20
    assert runner(tmp_path).run(CELL, Stop(), Progress("cell")) == "ok"
    (record,) = store.read_all(tmp_path / "results")
    assert record.status == "ok"


def test_a_worker_that_dies_while_its_cell_is_timed_leaves_no_record(tmp_path, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(budget, "probe", broken)
    # The timing that ended the worker's process would end that of the sweep.
    assert runner(tmp_path).fail(CELL, "killed by SIGKILL", Progress("cell")) == "error"
    assert "broken" not in capsys.readouterr().err
    assert runner(tmp_path).fail(CELL, "killed by SIGKILL", Progress("cell")) == "error"
    assert runner(tmp_path).run(CELL, Stop(), Progress("cell")) == "error"
    printed = capsys.readouterr().err
    assert "cell: error: killed by SIGKILL" in printed and "cell: error: RuntimeError: broken" in printed
    assert not (tmp_path / "results").exists()


def test_running_out_of_memory_while_being_timed_is_oom(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise MemoryError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(budget, "probe", full)
    assert runner(tmp_path).run(CELL, Stop(), Progress("cell")) == "oom"
    (record,) = store.read_all(tmp_path / "results")
    assert record.status == "oom" and "out of memory with batches of 4 and length 64: try" in record.message
    assert "cell: oom: out of memory with" in capsys.readouterr().err


def test_a_stop_while_a_cell_is_timed_leaves_no_plan_and_no_record(tmp_path, monkeypatch, capsys):
    stop, release = Stop(), threading.Event()

    def endless(*_, **__):
        stop.signal = "SIGUSR1"
        release.wait()

    monkeypatch.setattr(budget, "probe", endless)
    assert runner(tmp_path).run(CELL, stop, Progress("cell")) == "stopped"
    release.set()
    assert "cell: stopped by SIGUSR1 before the first step: nothing has changed" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


def test_a_plan_of_another_user_is_one_sentence(tmp_path, probes, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(budget.FileLock, "acquire", refused)
    with pytest.raises(UserError, match="^cannot lock the plan .*: Permission denied; use another folder for --check"):
        share_of(tmp_path, 100)


def test_a_cell_without_time_or_data_does_not_end_the_sweep(tmp_path, probes, monkeypatch, capsys):
    real = cells.open_data

    def open_data(config, **rest):
        if config.task.name == "image":
            raise OSError(28, "No space left on device")
        return real(config, **rest)

    monkeypatch.setattr(cells, "open_data", open_data)
    wanted = [Cell(model="transformer", task=task, seed=0) for task in ("image", "text")]
    reached = cells.sweep(wanted, runner(tmp_path), Stop())
    assert [status for _, status in reached] == ["error", "ok"]
    assert "image seed 0: error: OSError: [Errno 28] No space left on device" in capsys.readouterr().err
    reached = cells.sweep(wanted[1:], runner(tmp_path, seconds=0.5), Stop())
    assert [status for _, status in reached] == ["error"]
    assert "text seed 0: error: --budget leaves 0 s for transformer on text" in capsys.readouterr().err
    assert len(store.read_all(tmp_path / "results")) == 1
