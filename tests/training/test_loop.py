"""Training from a configuration to a record: resume, deadline, failures, selection, coverage."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import jax
import msgspec
import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.training import loop, provenance
from ssm_bench.training import run as run_module
from ssm_bench.training.loop import chunk_length
from ssm_bench.training.run import make_trainer, run
from ssm_bench.training.stop import Stop, Stopped

pytestmark = pytest.mark.usefixtures("shared_programs")

SIZES = (
    "--config.train.steps=20",
    "--config.train.evaluations=2",
    "--config.train.chunk=5",
    "--config.model.d_model=8",
    "--config.model.layers=1",
    # Masks that differ from step to step.
    "--config.model.dropout=0.1",
    "--config.task.max_length=32",
    "--config.task.examples=200",
)


# Two padded lengths, at sizes that run fast.
SEVERAL_LENGTHS = (
    *("--config.train.lengths=2", "--config.task.max_length=512"),
    *("--config.train.batch_size=4", "--config.train.eval_batch_size=32"),
)

# Documents of several padded lengths.
LONG = ("--config.task.max_length=768", "--config.train.eval_batch_size=4")


class StopAfter(Stop):
    """Requests a stop after some chunks, all of one program."""

    def __init__(self, chunks):
        super().__init__()
        # The loop asks once more after compiling.
        self.left = chunks + 1 if chunks else 0

    def reason(self, ahead=None):
        # Only the loop says what comes next.
        if ahead is not None:
            self.left -= 1
        return "deadline" if self.left < 0 else ""


def config_of(*overrides, model="transformer", task="text", **choices):
    chosen = Choices(preset="quick", data="synthetic", overrides=SIZES + overrides, **choices)
    return opened(chosen.config(Cell(model=model, task=task, seed=1)))


def silent(step, steps, rate, words):
    pass


def run_in(folder, config, dataset, stop=None, tell=silent, **rest):
    (record,) = run(
        config,
        dataset,
        results=folder / "results",
        checkpoints=folder / "ckpt",
        stop=stop or Stop(),
        tell=tell,
        **rest,
    )
    return record


def essence(record):
    """What must not depend on interruptions: everything but clocks."""
    curve = [{k: v for k, v in point.items() if k != "seconds"} for point in record.to_dict()["curve"]]
    return record.status, record.result, record.steps, curve


@pytest.fixture(scope="module")
def whole(tmp_path_factory, shared_programs):
    """The essence of a run of `config_of()` that nothing interrupts."""
    return essence(run_in(tmp_path_factory.mktemp("whole"), *config_of()))


@pytest.mark.parametrize(
    ("model", "chunks", "overrides"),
    # The Transformer has dropout, which differs from step to step, S5 batch statistics, too.
    [("transformer", 1, ()), ("s5", 3, SEVERAL_LENGTHS)],
)
def test_a_run_stopped_anywhere_resumes_to_the_same_bits(tmp_path, model, chunks, overrides):
    config, dataset = config_of(*overrides, model=model)
    whole = run_in(tmp_path / "whole", config, dataset)
    part = run_in(tmp_path / "parts", config, dataset, StopAfter(chunks))
    assert part.status == "partial" and part.steps.done == 5 * chunks and part.result is None
    again = run_in(tmp_path / "parts", config, dataset)
    assert essence(again) == essence(whole)
    assert whole.status == "ok"


def test_every_step_has_dropout_of_its_own():
    trainer = make_trainer(*config_of("--config.model.dropout=0.5"))
    program, examples = trainer.program, trainer.order.batches(0, 1)[0][0]
    state = program.initial_state()
    step_of = jax.jit(program.gradients, static_argnums=1)
    gradients = partial(step_of, trainer.source.data, trainer.padded[-1])
    losses = [float(gradients(state._replace(step=state.step + step), examples)[2][0]) for step in (0, 1, 1)]
    assert losses[0] != losses[1] == losses[2]


# Other lengths are other shapes of the same sums, in float32.
LENGTH_TOLERANCE = 1e-5


@pytest.mark.parametrize(
    ("model", "protocol"), [("transformer", "strict"), ("s5", "strict"), ("mamba2", "strict"), ("s5", "paper")]
)
def test_scores_do_not_depend_on_the_padded_lengths(model, protocol):
    one, several = (
        make_trainer(*config_of(f"--config.train.lengths={lengths}", *LONG, model=model, protocol=protocol))
        for lengths in (1, 3)
    )
    # Under "paper" padding may reach outputs, so there its length is fixed.
    assert one.padded == (768,) and (len(several.padded) == 3) == (protocol == "strict")
    state = one.program.initial_state()
    scores = [trainer.score(state.params, state.stats, "validation") for trainer in (one, several)]
    np.testing.assert_allclose(*scores, rtol=LENGTH_TOLERANCE)


def test_stopping_twice_at_the_same_step_loses_nothing(tmp_path):
    config, dataset = config_of()
    run_in(tmp_path, config, dataset, StopAfter(2))
    again = run_in(tmp_path, config, dataset, StopAfter(0))
    assert again.status == "partial" and again.steps.done == 10
    assert run_in(tmp_path, config, dataset).status == "ok"


def test_a_checkpoint_is_written_about_every_minute(tmp_path, monkeypatch):
    clock, saved = [0.0], []
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(loop.Checkpoints, "save", lambda self, step, *_: saved.append(step))

    def forty_seconds_later(*_):
        clock[0] += 40.0

    config, dataset = config_of("--config.train.chunk=2", "--config.train.evaluations=1")
    run(
        config,
        dataset,
        results=tmp_path,
        checkpoints=tmp_path,
        stop=Stop(),
        tell=forty_seconds_later,
    )
    # At the end, and after the first chunk that ends more than a minute after the last checkpoint.
    assert saved == [6, 10, 14, 18, 20]


def test_a_deadline_before_the_test_score_leaves_the_test_set_untouched(tmp_path):
    config, dataset = config_of()
    record = run_in(tmp_path, config, dataset, StopAfter(4))
    assert record.status == "partial" and "test not scored yet" in record.message and record.result is None
    assert run_in(tmp_path, config, dataset).status == "ok"


def test_a_deadline_that_passes_while_compiling_leaves_before_a_step(tmp_path, monkeypatch, whole):
    config, dataset = config_of()
    stop, real = Stop(Stop.MARGIN + 600), loop.Trainer._compile

    def slow(self, missing, stop):
        seconds = real(self, missing, stop)
        stop.end -= 700
        return seconds + 700

    def never(*_):
        raise AssertionError("a step after the deadline")

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_compile", slow)
        patch.setattr(loop.Trainer, "_train_chunk", never)
        record = run_in(tmp_path / "parts", config, dataset, stop)
    assert record.status == "partial" and record.steps.done == 0 and record.cost.seconds_compile > 0
    assert re.fullmatch(r"deadline after 7\d\d s of compiling: none of 20 steps done", record.message)
    assert essence(run_in(tmp_path / "parts", config, dataset)) == whole


class StopOnce(Stop):
    """Requests a stop when `event` is set."""

    def __init__(self):
        super().__init__()
        self.event = threading.Event()

    def reason(self, ahead=0.0):
        return "deadline" if self.event.is_set() else ""


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (0, r"deadline while compiling, which was not finished after \d+ s: none of 20 steps done"),
        (1, r"deadline while compiling, which was not finished after \d+ s: checkpoint at step 5 of 20"),
        (4, r"deadline while compiling, .*: trained to step 20, test not scored yet"),
    ],
)
def test_a_run_leaves_while_a_program_compiles(tmp_path, monkeypatch, chunks, message, whole):
    config, dataset = config_of()
    if chunks:
        run_in(tmp_path / "parts", config, dataset, StopAfter(chunks))
    stop, release = StopOnce(), threading.Event()
    real = loop.Trainer._missing

    def endless():
        stop.event.set()
        release.wait()
        raise AssertionError("nobody waits for this program")

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_missing", lambda *call: real(*call) | {("train", 5): endless})
        record = run_in(tmp_path / "parts", config, dataset, stop)
    release.set()
    assert record.status == "partial" and record.steps.done == 5 * chunks
    assert re.fullmatch(message, record.message)
    assert essence(run_in(tmp_path / "parts", config, dataset)) == whole


def test_a_run_leaves_while_its_first_steps_take_too_long(tmp_path, monkeypatch, whole):
    config, dataset = config_of()
    stop, release = StopOnce(), threading.Event()
    real = loop.Trainer._train_chunk

    def endless(self, state, size):
        stop.event.set()
        release.wait()
        return real(self, state, size)

    for chunks, where in ((0, "none of 20 steps done"), (2, "checkpoint at step 10 of 20")):
        if chunks:
            run_in(tmp_path / "parts", config, dataset, StopAfter(chunks))
        stop.event.clear()
        with monkeypatch.context() as patch:
            patch.setattr(loop.Trainer, "_train_chunk", endless)
            record = run_in(tmp_path / "parts", config, dataset, stop)
        assert record.status == "partial" and record.message == f"deadline during the first 5 steps: {where}"
    release.set()
    assert essence(run_in(tmp_path / "parts", config, dataset)) == whole


def test_a_stop_while_the_model_is_built_changes_nothing(tmp_path, monkeypatch):
    config, dataset = config_of()
    stop, release = StopOnce(), threading.Event()

    def endless(*_, **__):
        stop.event.set()
        release.wait()

    monkeypatch.setattr(run_module, "make_trainer", endless)
    with pytest.raises(Stopped, match="^deadline$"):
        run_in(tmp_path, config, dataset, stop)
    release.set()
    assert not list(tmp_path.iterdir())


# A compiler that does not end.
NEVER_COMPILES = """
import sys, time
from ssm_bench.__main__ import run
from ssm_bench.training import loop

def endless():
    print("compiling", file=sys.stderr, flush=True)
    time.sleep(1000)

loop.Trainer._missing = lambda *_: {("train", 5): endless}
run()
"""


def test_a_command_leaves_at_its_deadline_while_a_program_compiles(tmp_path):
    which = ("--model", "transformer", "--task", "text", "--preset", "quick", "--data", "synthetic", *SIZES)
    folders = ("--results", str(tmp_path / "results"), "--checkpoints", str(tmp_path / "ckpt"))
    command = [sys.executable, "-c", NEVER_COMPILES, "train", *which, *folders]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "compiling" not in process.stderr.readline():
        assert process.poll() is None
    # A deadline would depend on the clock of a busy machine. A signal is a request to stop like any other.
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors and "SIGTERM while compiling" in printed
    (record,) = store.read_all(tmp_path / "results")
    assert record.status == "partial" and record.message.startswith("stopped by SIGTERM while compiling")


def test_a_sweep_leaves_at_its_deadline_while_a_program_compiles(command, tmp_path, monkeypatch):
    release = threading.Event()

    def endless():
        os.kill(os.getpid(), signal.SIGTERM)
        release.wait()

    monkeypatch.setattr(loop.Trainer, "_missing", lambda *_: {("train", 5): endless})
    which = ("--models", "transformer", "--tasks", "text", "--seeds", "1", "--jobs", "1", "--no-table")
    _, printed, errors = command("sweep", *which, "--data", "synthetic", *SIZES)
    release.set()
    assert "Traceback" not in errors and printed == "1 partial\nthe same command continues\n"
    (record,) = store.read_all(tmp_path / "results")
    assert record.status == "partial" and record.message.startswith("stopped by SIGTERM while compiling")


def test_a_resumed_run_starts_no_chunk_that_can_not_end(tmp_path, monkeypatch):
    real = loop.Trainer._train_chunk

    def slow(self, state, size):
        state, metrics, seconds = real(self, state, size)
        return state, metrics, seconds + 500

    config, dataset = config_of()
    monkeypatch.setenv("SSM_BENCH_REVISION", "a" * 40)
    monkeypatch.setattr(loop.Trainer, "_train_chunk", slow)
    # Of the first chunk nothing is known: it is tried.
    for message in ("deadline", "deadline before the next 5 steps, which take about 500 s"):
        record = run_in(tmp_path, config, dataset, Stop(600))
        assert record.steps.done == 5 and record.message == f"{message}: checkpoint at step 5 of 20"
    # Other code may be faster.
    monkeypatch.setenv("SSM_BENCH_REVISION", "b" * 40)
    assert run_in(tmp_path, config, dataset, Stop(600)).steps.done == 10


def test_a_run_in_parts_names_code_device_and_libraries_of_each(tmp_path, monkeypatch):
    config, dataset = config_of()
    versions = provenance.versions()
    there = versions["jax"]
    for commit, version in (("a", there), ("a", there), ("b", there), ("b", "0.0.1")):
        monkeypatch.setenv("SSM_BENCH_REVISION", commit * 40)
        monkeypatch.setattr(provenance, "versions", lambda version=version: versions | {"jax": version})
        record = run_in(tmp_path, config, dataset, None if version == "0.0.1" else StopAfter(1))
    assert [part.revision.commit[:1] for part in record.parts] == ["a", "b", "b"]
    assert [part.versions["jax"] for part in record.parts] == [there, there, "0.0.1"]
    assert record.versions["jax"] == "0.0.1" and record.revision.commit == "b" * 40 and record.message == ""


def test_a_record_has_the_note_of_its_machine_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_BENCH_NOTE", "cluster A")
    config, dataset = config_of()
    record = run_in(tmp_path, config, dataset, StopAfter(1))
    assert record.message.endswith("checkpoint at step 5 of 20") and record.notes == ["cluster A"] and record.alone
    record = run_in(tmp_path, config, dataset)
    assert record.message == "" and record.notes == ["cluster A"] and record.parts == []


def test_a_run_that_shared_its_device_in_one_part_is_no_measure(tmp_path, monkeypatch):
    config, dataset = config_of()
    monkeypatch.setenv("SSM_BENCH_SHARED", "1")
    run_in(tmp_path, config, dataset, StopAfter(1))
    monkeypatch.delenv("SSM_BENCH_SHARED")
    record = run_in(tmp_path, config, dataset)
    assert record.device.shared and not record.alone and record.notes == []


def test_a_record_bears_the_notes_of_all_parts_and_the_memory_of_the_training(tmp_path, monkeypatch):
    config, dataset = config_of()
    monkeypatch.setenv("SSM_BENCH_NOTE", "beside others")
    # Trained to the end, but the test set waits: what comes after it compiles no training program.
    part = run_in(tmp_path, config, dataset, StopAfter(4))
    assert part.steps.done == 20 and part.status == "partial"
    monkeypatch.delenv("SSM_BENCH_NOTE")
    record = run_in(tmp_path, config, dataset)
    assert record.status == "ok" and record.notes == ["beside others"]
    assert record.cost.peak_memory_bytes == part.cost.peak_memory_bytes is not None


def test_afresh_trains_again(tmp_path):
    config, dataset = config_of()
    told = []

    def tell(step, *_):
        told.append(step)

    first = run_in(tmp_path, config, dataset, tell=tell)
    chunks = list(told)
    resumed = run_in(tmp_path, config, dataset, tell=tell)
    assert resumed.cost.seconds_train == first.cost.seconds_train and told == chunks
    afresh = run_in(tmp_path, config, dataset, tell=tell, afresh=True)
    assert told == 2 * chunks and chunks and essence(afresh) == essence(first)


def test_afresh_goes_on_with_what_is_not_finished(tmp_path):
    config, dataset = config_of()
    assert run_in(tmp_path, config, dataset, StopAfter(1), afresh=True).steps.done == 5
    assert run_in(tmp_path, config, dataset, StopAfter(1), afresh=True).steps.done == 10
    assert run_in(tmp_path, config, dataset, afresh=True).status == "ok"
    assert run_in(tmp_path, config, dataset, StopAfter(1), afresh=True).steps.done == 5


def test_the_same_recipe_on_other_data_is_another_run(tmp_path):
    config, dataset = config_of()
    run_in(tmp_path, config, dataset, StopAfter(2))
    other = replace(dataset, card=dataset.card | {"checksum": "f" * 64})
    assert run_in(tmp_path, config, other, StopAfter(1)).steps.done == 5
    assert run_in(tmp_path, config, dataset, StopAfter(1)).steps.done == 15
    records = store.read_all(tmp_path / "results")
    assert sorted(record.steps.done for record in records) == [5, 15]


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    config, dataset = config_of()
    run_in(tmp_path, config, dataset, StopAfter(2))
    # Its folder is named by the first digits of the checksum alone.
    other = replace(dataset, card=dataset.card | {"checksum": dataset.card["checksum"][:8] + "f" * 56})
    with pytest.raises(UserError, match="trained on other data .* delete that folder"):
        run_in(tmp_path, config, other)


def test_a_finished_run_of_other_code_is_trained_again(tmp_path, monkeypatch):
    config, dataset = config_of()
    chunks = []

    def tell(step, *_):
        chunks.append(step)

    def chunks_of(code, stop=None):
        chunks.clear()
        monkeypatch.setattr(provenance, "code", lambda: code)
        return run_in(tmp_path, config, dataset, stop, tell=tell).status, list(chunks)

    every = [5, 10, 15, 20]
    assert chunks_of("a") == ("ok", every)
    assert chunks_of("a") == ("ok", [])
    # From the start, and on from there where the new code was stopped.
    assert chunks_of("b", StopAfter(2)) == ("partial", every[:2])
    assert chunks_of("b") == ("ok", every[2:])
    assert chunks_of("b") == ("ok", [])
    # What is published is kept.
    (record,) = store.read_all(tmp_path / "results")
    monkeypatch.setattr(provenance, "code", lambda: "a")
    assert "other code" in run_module.outdated(record)
    assert not run_module.outdated(msgspec.structs.replace(record, preset="budget"))


def test_the_record_tells_data_cost_and_schedule(tmp_path):
    config, dataset = config_of()
    record = run_in(tmp_path, config, dataset)
    (path,) = store.paths(tmp_path / "results")
    assert store.read(path) == record
    assert record.data.kind == "synthetic" and record.data.checksum
    assert record.data.counts == {"train": 200, "validation": 64, "test": 64}
    assert record.steps.done == record.steps.planned == 20 and record.steps.published is None
    assert record.config["task"]["data"] == "synthetic" and record.config["model"]["d_model"] == 8
    assert [p.step for p in record.curve] == [10, 20]
    assert record.cost.seconds_compile > 0 and record.cost.sequences_per_second > 0
    assert record.model.parameters > 0 and record.model.state_size is None


def test_the_best_validation_decides_and_test_is_scored_once(tmp_path, monkeypatch):
    scored = []
    planned = iter([0.9, 0.5])

    def score(self, params, stats, split):
        scored.append(split)
        return (next(planned), 1.0) if split == "validation" else (0.7, 1.0)

    monkeypatch.setattr(loop.Trainer, "score", score)
    config, dataset = config_of()
    record = run_in(tmp_path, config, dataset)
    assert scored == ["validation", "validation", "test"]
    assert record.result.best_step == 10 and record.result.validation_accuracy == 0.9


@pytest.mark.parametrize(
    ("validations", "test", "status", "message"),
    [
        ([(0.0, np.nan), (0.5, 1.0)], (0.7, 1.0), "ok", ""),
        # A few examples out of range are wrong answers, not the end.
        ([(0.4, 1.0), (0.5, np.inf)], (0.7, np.nan), "ok", ""),
        ([(0.5, 1.0), (0.0, np.nan)], (0.7, 1.0), "diverged", "validation loss .* parameters of step 20 of 20"),
        ([(0.9, 1.0), (0.5, 1.0)], (0.0, np.inf), "diverged", "test loss .* parameters of step 10 of 20"),
    ],
)
def test_parameters_that_score_nothing_are_a_failure(tmp_path, monkeypatch, validations, test, status, message):
    planned = iter(validations)
    monkeypatch.setattr(loop.Trainer, "score", lambda self, p, s, split: next(planned, test))
    record = run_in(tmp_path, *config_of())
    assert record.status == status and re.match(message, record.message)
    assert record.result is None if message else record.result.best_step == 20


def test_an_example_whose_loss_is_not_finite_counts_as_wrong():
    trainer = make_trainer(*config_of())
    state = trainer.program.initial_state()
    accuracy, loss = trainer.score(state.params, state.stats, "validation")
    assert accuracy > 0 and np.isfinite(loss)
    poisoned = jax.tree.map(lambda leaf: leaf * np.nan, state.params)
    accuracy, loss = trainer.score(poisoned, state.stats, "validation")
    assert accuracy == 0 and np.isnan(loss)


def test_a_non_finite_loss_ends_the_run_and_names_the_step(tmp_path):
    config, dataset = config_of("--config.optimizer.lr=1e38", "--config.optimizer.warmup=0.0")
    record = run_in(tmp_path, config, dataset)
    assert record.status == "diverged"
    assert "not finite at step" in record.message and record.result is None


def test_running_out_of_memory_is_a_record_with_advice(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError("out of memory")

    monkeypatch.setattr(loop.Trainer, "_train_chunk", fail)
    config, dataset = config_of()
    record = run_in(tmp_path, config, dataset)
    assert record.status == "oom" and "--config.train.batch_size" in record.message


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one_to_the_same_bits(tmp_path, caplog, whole):
    config, dataset = config_of()
    for _ in range(2):
        run_in(tmp_path / "parts", config, dataset, StopAfter(1))
    largest = max((tmp_path / "parts" / "ckpt").glob("**/10/tree/**/d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(content)
    again = run_in(tmp_path / "parts", config, dataset)
    assert [message for message in caplog.messages if "damaged" in message and "using step 5" in message]
    assert essence(again) == whole


def test_a_damaged_checkpoint_is_reported_not_crashed_into(tmp_path):
    config, dataset = config_of()
    run_in(tmp_path, config, dataset, StopAfter(1))
    for file in (tmp_path / "ckpt").rglob("*"):
        if file.is_file() and file.stat().st_size > 100:
            file.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"^no checkpoint in .* is usable \(step 5: .*\): delete that folder to start"):
        run_in(tmp_path, config, dataset)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--config.train.batch_size=999", "at most the 200 training examples; got 999"),
        ("--config.model.d_model=1000000000", "d_model must be at most [0-9]+; got 1000000000"),
        ("--config.mixer.heads=3", "heads must divide the width 8; got 3"),
    ],
)
def test_impossible_sizes_get_one_sentence_and_leave_nothing(tmp_path, override, sentence):
    config, dataset = config_of(override)
    with pytest.raises(UserError, match=sentence):
        run_in(tmp_path, config, dataset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("steps", "evaluations", "wanted"), [(200, 4, 50), (17_500, 35, 50), (77, 10, 50), (3, 20, 50), (1, 1, 1)]
)
def test_chunks_fill_the_intervals(steps, evaluations, wanted):
    interval, chunk = chunk_length(steps, evaluations, wanted)
    assert interval % chunk == 0 and chunk <= wanted
    assert interval * evaluations >= steps


# Checkpoints after every chunk, so that there is something to find; and no end before the kill.
NEVER_ENDS = """
import sys, time
from ssm_bench.cli import main
from ssm_bench.training import loop

loop.CHECKPOINT_SECONDS = 0.0
save = loop.Checkpoints.save

def save_or_wait(self, step, *rest):
    return save(self, step, *rest) if step < 15 else time.sleep(1000)

loop.Checkpoints.save = save_or_wait
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_process_resumes_to_the_same_bits(tmp_path, whole):
    command = [
        *(sys.executable, "-c", NEVER_ENDS),
        *("train", "--model", "transformer", "--task", "text", "--preset", "quick", "--seed", "1"),
        *("--data", "synthetic", *SIZES),
        *("--results", str(tmp_path / "results"), "--checkpoints", str(tmp_path / "ckpt")),
    ]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("ckpt/*/*/*/*/[0-9]*/checksums.json")):
        assert time.monotonic() < deadline and victim.poll() is None, "no checkpoint before the run ended"
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not list((tmp_path / "results").rglob("*.json"))
    steps = []
    # The compiler of this process has the flags of the other one, which conftest.py sets for both.
    record = run_in(tmp_path, *config_of(), tell=lambda step, *_: steps.append(step))
    assert essence(record) == whole and steps[0] in (10, 15)


def test_ctrl_c_saves_and_leaves_and_the_same_command_goes_on(tmp_path):
    arguments = [
        *("-m", "ssm_bench", "train", "--model", "transformer", "--task", "text", "--preset", "quick"),
        *("--data", "synthetic", *SIZES[2:], "--config.train.steps=200000"),
        *("--results", str(tmp_path / "results"), "--checkpoints", str(tmp_path / "ckpt")),
    ]
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "ckpt").is_dir():
        assert time.monotonic() < deadline and process.poll() is None, "the run did not start"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    (path,) = store.paths(tmp_path / "results")
    record = json.loads(path.read_text())
    assert record["status"] == "partial" and "SIGINT" in record["message"]
    assert np.isfinite(record["cost"]["seconds_train"])
