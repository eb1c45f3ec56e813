"""Sweeps and verbs, through the command line, on synthetic data."""

import io
import json
import re
import sys

import jax
import pytest
from hypothesis import given, strategies

from ssm_bench.cli import list as list_verb
from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep import budget, cells, progress
from ssm_bench.sweep.progress import TimeLeft, duration, parse_duration
from ssm_bench.sweep.recipe import resolve

pytestmark = pytest.mark.usefixtures("shared_programs")

SMALL = (
    "--config.train.steps=4",
    "--config.train.evaluations=2",
    "--config.train.chunk=2",
    "--config.model.d_model=8",
    "--config.model.layers=1",
    "--config.task.max_length=64",
    "--config.task.examples=100",
)


def sweep_of(*more):
    return ("sweep", "--preset", "quick", "--data", "synthetic", "--jobs", "1", *SMALL, *more)


def test_a_sweep_runs_skips_and_writes_the_table(command, tmp_path):
    cells_of = ("--models", "transformer,lru", "--tasks", "text,image")
    code, out, err = command(*sweep_of(*cells_of))
    assert code == 0 and "4 ok" in out
    assert "[4/4] lru image seed 0" in err or "[4/4] lru text seed 0" in err
    records = store.read_all(tmp_path / "results")
    assert {(r.model.name, r.task.name) for r in records} == {
        (m, t) for m in ("transformer", "lru") for t in ("text", "image")
    }
    table = (tmp_path / "results" / "tables" / "quick-strict.md").read_text()
    assert "Transformer" in table and "LRU" in table and "synthetic" in table and "toy size" in table
    before = {p: p.read_bytes() for p in store.paths(tmp_path / "results")}
    code, out, err = command(*sweep_of(*cells_of))
    assert code == 0 and "4 skipped" in out and "finished before" in err
    assert {p: p.read_bytes() for p in store.paths(tmp_path / "results")} == before


def test_a_sweep_without_tasks_trains_the_comparison_table_only(command):
    code, out, _ = command("sweep", "--preset", "custom", "--models", "lru", "--dry-run")
    assert code == 0
    assert all(task in out for task in ("listops", "text", "retrieval", "image", "pathfinder", "pathx"))
    assert "mqar" not in out
    code, out, _ = command("sweep", "--preset", "custom", "--models", "lru", "--tasks", "mqar-64,text", "--dry-run")
    assert code == 0 and "mqar-64" in out


def test_a_sweep_of_a_probe_writes_a_table_of_its_own(command, tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("ssm_bench.data.work.usable_cores", lambda: 1)
    monkeypatch.setattr("ssm_bench.tasks._probes.COUNTS", {"train": 64, "validation": 16, "test": 16})
    code, out, _ = command(*sweep_of("--models", "lru", "--tasks", "mqar-64", "--data", "real"))
    assert code == 0 and "1 ok" in out
    (run,) = store.read_all(tmp_path / "results")
    assert (run.task.name, run.task.suite, run.task.length) == ("mqar-64", "probe", 64)
    assert (run.data.identity, run.data.kind) == ("MQAR (generated v1, seed 0)", "generated")
    tables = {path.name for path in (tmp_path / "results" / "tables").glob("*.md")}
    assert tables == {"probe-quick-strict.md"}
    assert "MQAR 64" in out and "ListOps" not in out
    # A toy run never asks for more tokens than a short variant has.
    assert resolve("lru", "permutations-16", preset="quick").task.max_length == 16


def test_a_failing_cell_is_a_record_and_the_sweep_goes_on(command, tmp_path, monkeypatch):
    real = cells.run

    def run(config, dataset, **rest):
        if config.model.name == "lru":
            raise ValueError("the sky fell\nsecond line")
        return real(config, dataset, **rest)

    monkeypatch.setattr(cells, "run", run)
    code, out, _ = command(*sweep_of("--models", "lru,transformer", "--tasks", "text"))
    assert code == 1 and "1 error, 1 ok" in out
    (failed,) = [r for r in store.read_all(tmp_path / "results") if r.status == "error"]
    assert failed.message == "ValueError: the sky fell" and failed.model.name == "lru"
    monkeypatch.setattr(cells, "run", real)
    code, out, _ = command(*sweep_of("--models", "lru,transformer", "--tasks", "text"))
    assert code == 0 and "1 ok, 1 skipped" in out


def test_a_sweep_out_of_time_says_what_it_did_not_reach(command):
    code, out, _ = command(*sweep_of("--models", "transformer", "--deadline", "1s"))
    assert code == 0 and "6 not reached" in out and "no table yet" in out


def test_a_budget_picks_a_share_and_keeps_it(command, tmp_path, monkeypatch):
    # A step takes 20 ms, whatever this machine takes for it.
    monkeypatch.setattr(budget, "probe", lambda *_, **__: 0.02)
    choice = ("sweep", "--preset", "custom", "--data", "synthetic", *SMALL[3:], "--config.train.batch_size=4")
    choice += ("--config.train.published_steps=400", "--models", "transformer", "--tasks", "text", "--budget", "2s")
    code, _, err = command(*choice)
    assert code == 0 and "% of the schedule)" in err
    (plan,) = (tmp_path / "checkpoints").rglob("plan/*.json")
    share = json.loads(plan.read_text())["share"]
    (record,) = store.read_all(tmp_path / "results")
    assert record.steps.done == record.steps.planned
    # A resumed sweep keeps its share, however fast the machine is by then.
    plan.write_text(json.dumps({"share": share, "step_seconds": 1e9}))
    code, out, _ = command(*choice)
    assert code == 0 and "1 skipped" in out


def test_train_resolves_runs_and_skips(command):
    arguments = (
        "train",
        "--model",
        "transformer",
        "--task",
        "text",
        "--preset",
        "quick",
        "--data",
        "synthetic",
        *SMALL,
    )
    code, out, _ = command(*arguments)
    assert code == 0 and "ok, test" in out and "synthetic" in out
    code, out, _ = command(*arguments)
    assert code == 0 and "finished before" in out
    code, out, _ = command("eval", *arguments[1:], "--split", "validation")
    assert code == 0 and "validation: accuracy" in out and "64 examples" in out
    code, out, _ = command(*arguments, "--show-config")
    assert code == 0 and "d_model: 8" in out


def test_eval_scores_what_the_record_says(command, tmp_path):
    arguments = ("--model", "lru", "--task", "text", "--preset", "quick", "--data", "synthetic", *SMALL)
    command("train", *arguments)
    (record,) = store.read_all(tmp_path / "results")
    _, out, _ = command("eval", *arguments)
    assert f"accuracy {100 * record.result.test_accuracy:.2f} %" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "--model", "s55", "--task", "text"), "unknown model 's55' (did you mean s5"),
        (("train", "--model", "s5", "--task", "txt"), "unknown task 'txt' (did you mean text"),
        (("train", "--task", "text"), "the following arguments are required: --model"),
        (("train", "--model", "s5", "--task", "text", "--modle"), "unrecognized arguments: --modle"),
        (("train", "--model", "s5", "--task", "text", "--share", "x"), "must be a number; got 'x'"),
        (("train", "--model", "s5", "--task", "text", "--deadline", "soon"), "--deadline takes a time like 90s"),
        (("train", "--model", "s5", "--task", "text", "--data", "reel"), "unknown --data 'reel' (did you mean real"),
        (("sweep", "--seeds", "0,x"), "--seeds takes whole numbers from 0 like 0,1,2; got '0,x'"),
        (("sweep", "--seeds", ""), "--seeds takes whole numbers from 0 like 0,1,2; got ''"),
        (("sweep", "--models", ","), "--models: must be comma-separated names; got ','"),
        (("sweep", "--tasks", ""), "--tasks: must be comma-separated names; got ''"),
        (("sweep", "--seeds", "0,1,00"), "--seeds must not repeat a value; got 0 2 times"),
        (("sweep", "--models", "s5,lru,s5"), "--models must not repeat a value; got s5 2 times"),
        (("sweep", "--tasks", "text,text"), "--tasks must not repeat a value; got text 2 times"),
        (("sweep", "--models", "s5,nope", "--tasks", "text"), "unknown model 'nope'"),
        (("sweep", "--budget", "1h", "--preset", "quick"), "but a quick run has none; use --preset budget"),
        (("train", "--model", "s5", "--task", "text", "--results", "/dev/null/x"), "cannot write to the folder"),
        (("train", "--model", "s5", "--task", "retrieval"), "there are no data for task retrieval"),
        (("sweep", "--preset", "paper", "--results", "/dev/null/x"), "cannot write to the folder"),
        (("sweep", "--budget", "1h", "--share", "0.1"), "--budget and --share both set the length of training"),
        (("eval", "--model", "s5", "--task", "text", "--data", "synthetic"), "no checkpoint of this run"),
        (("list", "modelz"), "unknown list 'modelz' (did you mean models"),
        (("bench", "stepp", "--model", "s5", "--task", "text"), "unknown bench 'stepp' (did you mean step"),
        (("bench", "step", "--model", "s5", "--task", "text", "--steps", "0"), "--steps must be at least 1; got 0"),
        (("tablex",), "invalid choice: 'tablex'"),
        (("data", "describe", "text", "--config.seed=1"), "unrecognized arguments: --config.seed=1"),
    ],
)
def test_a_mistake_gets_one_sentence_exit_code_2_and_leaves_nothing(command, tmp_path, arguments, sentence):
    code, out, err = command(*arguments)
    assert code == 2 and sentence in err and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", [("train", "--model", "s5", "--task", "text"), ("sweep",)])
def test_programs_that_are_not_compiled_are_refused(command, tmp_path, verb):
    jax.config.update("jax_disable_jit", True)
    try:
        code, out, err = command(*verb)
    finally:
        jax.config.update("jax_disable_jit", False)
    assert code == 2 and out == "" and not list(tmp_path.iterdir())
    assert err == "error: JAX_DISABLE_JIT is set, but ssm-bench runs compiled programs only: unset it\n"


@pytest.mark.parametrize("what", ["models", "tasks", "mixers", "scaffolds", "presets"])
def test_list_shows_a_line_for_each(command, what):
    code, out, _ = command("list", what)
    assert code == 0 and all(len(line.split(maxsplit=1)) == 2 for line in out.splitlines())


def test_a_terminal_of_few_characters_gets_question_marks(monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    monkeypatch.setattr(
        list_verb, "ROWS", {"models": lambda: [("nystrom", "Nystr\N{LATIN SMALL LETTER O WITH DIAERESIS}m")]}
    )
    assert main(["list", "models"]) == 0
    ascii_only.flush()
    assert ascii_only.buffer.getvalue() == b"nystrom  Nystr?m\n"


@pytest.mark.parametrize("brief", [False, True])
def test_bench_step_reports_and_records(command, tmp_path, monkeypatch, brief):
    monkeypatch.setenv("SSM_BENCH_NOTE", "beside a test")
    # Few and short, so that the numbers mean nothing here; that they are there is what is tested.
    sizes = ("--steps", "3", "--repeats", "1", *SMALL[3:5], "--config.train.batch_size=4", "--config.train.chunk=2")
    sizes += ("--config.mixer.state_size=4",)
    sizes += ("--name", "small", "--config.train.steps=8", *(["--brief"] if brief else []))
    code, out, _ = command("bench", "step", "--model", "lru", "--task", "image", *sizes)
    assert code == 0
    (record,) = store.read_all_speed(tmp_path / "results")
    assert record.name == "small"
    for name in ("step_ms", "sequences_per_second", "tokens_per_second", "compile_seconds"):
        assert (record.value(name) or 0) > 0 and name in out
    more = {"step_ms_one_per_call", "loop_step_ms"}
    assert more & {m.metric for m in record.measurements} == (set() if brief else more)
    assert record.sizes["length"] == 1024 and record.notes == ["beside a test"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("550s", 550), ("9m", 540), ("1.5h", 5400), ("0.5", 0.5)),
        *(("9m10s", 550), ("1h30m", 5400), ("1h5s", 3605), ("2h30m15s", 9015), ("90m", 5400)),
    ],
)
def test_durations_are_read(text, seconds):
    assert parse_duration("--deadline", text) == seconds


@given(strategies.integers(0, 99), strategies.integers(0, 99), strategies.integers(1, 99))
def test_any_hours_minutes_and_seconds_are_read(hours, minutes, seconds):
    text = f"{hours}h" * (hours > 0) + f"{minutes}m" * (minutes > 0) + f"{seconds}s"
    assert parse_duration("--deadline", text) == 3600 * hours + 60 * minutes + seconds


@given(
    strategies.text()
    | strategies.from_regex(r"[-+ ]?[0-9.]{0,3}[hmsd]?[0-9.]{0,3}[hmsHMSe]?[0-9]{0,2}", fullmatch=True)
    | strategies.sampled_from(
        ["", "0", "0s", "10s9m", "1h30", "9 m", "1e3", "inf", "nan", "-5s", "5m5m", "1d", 400 * "9"]
    )
)
def test_any_other_duration_is_one_sentence(text):
    try:
        seconds = parse_duration("--deadline", text)
    except UserError as error:
        assert str(error).startswith(
            "--deadline takes a time like 90s, 9m, 9m10s or 1h30m, or a number of seconds; got "
        )
    else:
        assert 0 < seconds < float("inf") and re.fullmatch(r"[0-9.]+|([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?", text)


def test_durations_are_shown():
    assert [duration(s) for s in (5, 300, 7200)] == ["5 s", "5.0 min", "2.0 h"]


def test_a_sweep_estimates_the_time_left_from_the_cells_that_it_trained(monkeypatch):
    clock = iter(range(0, 1000, 50))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    left = TimeLeft(10, workers=2)
    # A skipped cell says nothing about the time of the others, and two estimates are a minute apart.
    assert left.ended(0.1) == "" and left.ended(20.0) == ""
    assert left.ended(40.0) == "7 cells left: about 1.8 min at the mean time of the cells so far"
    assert TimeLeft(1).ended(40.0) == ""


def test_a_failure_of_seeds_together_leaves_the_records_of_finished_ones(command, tmp_path, monkeypatch):
    arguments = sweep_of("--models", "transformer", "--tasks", "text", "--no-table")
    assert command(*arguments, "--seeds", "0")[0] == 0

    def broken(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(cells, "run", broken)
    command(*arguments, "--seeds", "0,1,2", "--together")
    found = {record.seed: record.status for record in store.read_all(tmp_path / "results")}
    assert found == {0: "ok", 1: "error", 2: "error"}
