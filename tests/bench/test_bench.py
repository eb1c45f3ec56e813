"""The kinds of `ssm-bench bench` at toy size: what they record, and what they refuse."""

import jax
import numpy as np
import pytest

from ssm_bench.bench import length, operations, segments, step
from ssm_bench.cli import main
from ssm_bench.record import config_hash, store
from ssm_bench.report.speed import NOTHING, blocks
from ssm_bench.training import provenance
from ssm_bench.training import run as train_run
from ssm_bench.training.identity import recipe

#: Other sizes than the published ones, and the name that they ask for.
SIZES = ("--name", "small", "--config.model.d_model=8", "--config.model.layers=1", "--config.mixer.state_size=4")
QUICK = ("--steps", "2", "--repeats", "1")

#: Float32 against float64: sums of up to a hundred products with eigenvalues near one.
EXACT = 1e-4


@pytest.mark.parametrize(
    ("operation", "shape"),
    [
        ("selective_scan", "2x20x3x4"),
        ("rg_lru", "2x20x3"),
        ("linear_recurrence", "2x20x3"),
        ("diagonal_ssm", "2x20x3x5"),
    ],
)
def test_an_operation_is_timed_and_held_to_float64(tmp_path, operation, shape, capsys):
    assert main(["bench", "scan", "--op", operation, "--shapes", shape, "--results", str(tmp_path)]) == 0
    (record,) = store.read_all_speed(tmp_path)
    assert (record.benchmark, record.operation, record.model) == ("scan", operation, None)
    sizes = tuple(map(int, shape.split("x")))
    for backend in ("auto", "associative"):
        for metric in ("forward_ms", "forward_backward_ms", "temporary_bytes", "output_bytes"):
            assert (record.value(metric, backend=backend, shape=sizes) or 0) > 0
        for metric in ("value_error", "gradient_error"):
            assert 0 <= (record.value(metric, backend=backend, shape=sizes) or 0) < EXACT
    assert shape in capsys.readouterr().out


def test_a_second_kind_of_device_gets_a_record_beside_the_first(tmp_path, monkeypatch):
    device = provenance.device()
    arguments = ["bench", "scan", "--op", "rg_lru", "--shapes", "2x20x3", "--results", str(tmp_path)]
    for kind in ("A", "B", "B"):
        monkeypatch.setattr(provenance, "device", lambda used=1, kind=kind: device | {"kind": kind})
        assert main(arguments) == 0
    assert main([*arguments, "--name", "mine"]) == 0
    names = {record.name: record.device.kind for record in store.read_all_speed(tmp_path)}
    assert names == {"mine": "B", "scan-rg_lru-2x20x3-cpu": "A", "scan-rg_lru-2x20x3-cpu-b": "B"}


def test_a_wrong_operation_has_a_large_error():
    operation = operations.OPERATIONS["rg_lru"]
    inputs = operation.make(np.random.default_rng(0), 2, 16, 3)
    wrong = operations.Operation(
        operation.sizes,
        operation.shapes,
        operation.make,
        lambda arrays, backend: (2 if backend == "auto" else 1) * operation.apply(arrays, backend),
        operation.sequences,
    )
    found = operations._errors(wrong, inputs, "auto")
    assert found["value_error"] == pytest.approx(1, abs=EXACT)
    assert found["gradient_error"] == pytest.approx(1, abs=EXACT)


def test_the_backends_of_a_step_are_compared_in_one_record(tmp_path, capsys):
    arguments = ("--model", "lru", "--task", "listops", *QUICK, *SIZES)
    sizes = ("--config.task.max_length=32", "--config.train.batch_size=4")
    assert main(["bench", "compare", *arguments, *sizes, "--results", str(tmp_path)]) == 0
    (record,) = store.read_all_speed(tmp_path)
    given = [f"--{name}={value}" for name, value in record.overrides.items()]
    assert record.name == "small" and given == [*SIZES[2:], *sizes]
    step = {backend: record.value("step_ms", backend=backend) or 0 for backend in ("auto", "associative")}
    assert record.value("times_faster", backend="auto") == pytest.approx(step["associative"] / step["auto"], rel=1e-2)
    assert (record.sizes["batch_size"], record.sizes["length"]) == (4, 32)
    # The loop of the CPU and the parallel scan are not the same program.
    memory = [record.value("temporary_bytes", backend=backend) for backend in step]
    assert memory[0] != memory[1]
    assert "against associative" in capsys.readouterr().out


def test_a_step_of_several_seeds_is_no_plain_step(tmp_path, capsys):
    arguments = ("--model", "lru", "--task", "listops", "--seeds", "2", *QUICK, *SIZES, "--config.train.chunk=1")
    sizes = ("--config.task.max_length=32", "--config.train.batch_size=4", "--config.train.steps=4")
    assert main(["bench", "step", *arguments, *sizes, "--results", str(tmp_path)]) == 0
    (record,) = store.read_all_speed(tmp_path)
    assert (record.sizes["seeds"], record.sizes["batch_size"]) == (2, 4) and (record.value("loop_step_ms") or 0) > 0
    seconds = (record.value("together_step_ms") or 0) / 1000
    assert record.value("sequences_per_second") == pytest.approx(2 * 4 / seconds, rel=1e-2)
    assert record.value("tokens_per_second") == pytest.approx(2 * 4 * 32 / seconds, rel=1e-2)
    assert set(blocks([record]).values()) == {NOTHING}
    assert "together_step_ms" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "name"), [((), "step-lru-image"), (("--seeds", "3"), "step-lru-image-seeds-3")])
def test_the_name_of_a_step_tells_its_seeds(tmp_path, monkeypatch, arguments, name):
    made = []
    monkeypatch.setattr(train_run, "make_trainer", lambda *_, seeds: made.append(list(seeds)))
    monkeypatch.setattr(step, "measure_step", lambda *_, **__: {"step_ms": 1.0})
    command = ("bench", "step", "--model", "lru", "--task", "image", "--brief", "--results", str(tmp_path))
    assert main([*command, *arguments]) == 0
    (record,) = store.read_all_speed(tmp_path)
    assert record.name == f"{name}-{jax.default_backend()}" and made == [[0, 1, 2] if arguments else []]


def test_lengths_keep_the_tokens_of_a_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--models", "lru", "--lengths", "32,64", "--tokens", "128", *QUICK, *SIZES)
    assert main(["bench", "length", *arguments]) == 0
    (record,) = store.read_all_speed("results")
    assert record.name == "small-lru" and record.task == "text"
    for tokens in (32, 64):
        assert record.value("batch_size", shape=(tokens,)) == 128 // tokens
        assert (record.value("step_ms", shape=(tokens,)) or 0) > 0
    assert main(["figures"]) == 0
    assert list((tmp_path / "results/figures/speed").glob("length-*.svg"))


def test_segments_have_times_and_memory_next_to_whole_sequences(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ("bench", "segments", "--models", "lru", "--segment", "16", "--lengths", "32", "--repeats", "1")
    assert main([*arguments, *SIZES, "--name", "small"]) == 0
    (record,) = store.read_all_speed("results")
    assert record.name == "small-lru" and record.task == "text" and record.notes == []
    for shape in ((32, 16), (32,)):
        assert (record.value("step_ms", shape=shape) or 0) > 0 and record.value("temporary_bytes", shape=shape)
    monkeypatch.setattr(segments.stream, "free_bytes", lambda: 10.0)
    assert main([*arguments, *SIZES, "--name", "none"]) == 0
    record = next(record for record in store.read_all_speed("results") if record.name == "none-lru")
    assert record.value("step_ms", shape=(32, 16)) is None and record.value("temporary_bytes", shape=(32, 16))
    assert record.notes[0] == "no time for 32 in segments of 16: it does not fit in memory"
    capsys.readouterr()
    assert main([*arguments, *SIZES, "--name", "x", "--config.model.norm=batch"]) == 2
    assert "model.norm must be layer or rms or scale where train.segment is not 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "length-lru"),
        (("--task", "text", "--tokens", "65536"), "length-lru"),
        (("--task", "listops"), "length-lru-listops"),
        (("--tokens", "128"), "length-lru-128-tokens"),
        (
            ("--task", "listops", "--tokens", "128", "--config.model.precision=bf16"),
            "length-lru-listops-128-tokens-bf16",
        ),
    ],
)
def test_the_name_of_lengths_tells_other_tasks_and_tokens_and_the_hash_is_of_what_ran(
    tmp_path, monkeypatch, arguments, name
):
    ran = []
    monkeypatch.setattr(length, "make_trainer", lambda config, _: ran.append(config_hash(recipe(config))))
    monkeypatch.setattr(length, "measure_step", lambda *_, **__: {"step_ms": 1.0})
    assert (
        main(["bench", "length", "--models", "lru", "--lengths", "32,64", *arguments, "--results", str(tmp_path)]) == 0
    )
    (record,) = store.read_all_speed(tmp_path)
    assert record.name == f"{name}-{jax.default_backend()}"
    assert len(set(ran)) == 2 and record.config_hash == ran[0]


def test_a_length_that_did_not_fit_is_not_what_the_hash_stands_for(tmp_path, monkeypatch):
    ran = []

    def trainer(config, _):
        if config.task.max_length == 32:
            raise MemoryError
        ran.append(config_hash(recipe(config)))

    monkeypatch.setattr(length, "make_trainer", trainer)
    monkeypatch.setattr(length, "measure_step", lambda *_, **__: {"step_ms": 1.0})
    assert main(["bench", "length", "--models", "lru", "--lengths", "32,64", "--results", str(tmp_path)]) == 0
    (record,) = store.read_all_speed(tmp_path)
    assert [record.config_hash] == ran and record.notes == ["out of memory at 32"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("speed",), "unknown bench 'speed'"),
        (("scan",), "unknown --op ''"),
        (("scan", "--op", "rg_lru", "--shapes", "2x3"), "--shapes takes batch x length x channels, like 2x64x64; got"),
        (("scan", "--op", "rg_lru", "--backends", "cuda"), "unknown --backends 'cuda'"),
        (
            ("scan", "--op", "rg_lru", "--config.model.layers=2"),
            "takes sizes by --shapes, not by --config.model.layers",
        ),
        (("scan", "--op", "linear_recurrence", "--shapes", "2x8x2", "--backends", "fused"), "needs an NVIDIA GPU"),
        (("compare", "--model", "lru"), "bench compare takes --model and --task"),
        (("compare", "--model", "lru", "--task", "text", "--backends", "auto"), "--backends takes two or more"),
        (("compare", "--model", "lru", "--task", "text", "--backends", "auto,fused"), "unknown --backends 'fused'"),
        (("length",), "bench length takes --models, like s5,transformer"),
        (("length", "--models", "lru", "--lengths", "64,32"), "--lengths takes growing whole numbers"),
        (("length", "--models", "lru", "--tokens", "64"), "--tokens must be at least the longest of --lengths, 16384"),
        (("step", "--model", "s5", "--task", "text", "--config.model.layers=1"), "takes a --name for its record, like"),
        (("length", "--models", "s5,lru", "--config.model.d_model=8"), "got --config.model.d_model=8 without one"),
        (("compare", "--model", "s5", "--task", "text", "--protocol", "paper"), "got --protocol=paper without one"),
        (("epoch", "--model", "s5", "--task", "text", "--data", "synthetic"), "got --data=synthetic without one"),
        (("step", "--model", "lru", "--task", "text", "--steps", "0"), "--steps must be at least 1; got 0"),
        (("step", "--model", "lru", "--task", "text", "--seeds", "0"), "--seeds must be at least 1; got 0"),
        (("compile", "--model", "lru"), "bench compile takes --model and --task"),
        (("epoch", "--model", "lru", "--task", "text", "--seeds", "2"), "bench epoch takes no --seeds; it is for step"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, capsys, tmp_path):
    assert main(["bench", *arguments, "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_an_epoch_counts_the_padding_that_lengths_save(tmp_path, capsys):
    sizes = ("--config.task.max_length=768", "--config.task.examples=120", "--config.train.batch_size=4")
    arguments = ("--model", "lru", "--task", "text", "--data", "synthetic", "--config.train.chunk=8", *SIZES, *sizes)
    shares = {}
    for lengths in (1, 3):
        folder = tmp_path / str(lengths)
        assert main(["bench", "epoch", *arguments, f"--config.train.lengths={lengths}", "--results", str(folder)]) == 0
        (record,) = store.read_all_speed(folder)
        found = [record.value(metric) for metric in ("epoch_steps", "epoch_steps_planned", "lengths")]
        assert found == [24, 30, lengths]
        assert (record.value("sequences_per_second") or 0) > 0 and record.notes
        assert record.overrides["data"] == "synthetic"
        shares[lengths] = record.value("padded_share") or 0
    assert shares[1] == 1 > shares[3] > 0.5
    assert "24 of 30 steps" in capsys.readouterr().err


def test_padding_ends_where_the_task_ends(tmp_path):
    # All documents have one padded length, which is a whole 256; the batches are cut to the 200 of the task.
    sizes = ("--config.task.max_length=200", "--config.task.examples=40", "--config.train.batch_size=4")
    arguments = ("--model", "lru", "--task", "text", "--data", "synthetic", "--config.train.chunk=5", *SIZES, *sizes)
    assert main(["bench", "epoch", *arguments, "--config.train.lengths=2", "--results", str(tmp_path)]) == 0
    (record,) = store.read_all_speed(tmp_path)
    assert record.sizes["length"] == 200 and record.value("padded_share") == 1


def test_compiling_is_timed_for_every_program_and_length(tmp_path, capsys):
    sizes = ("--config.task.max_length=512", "--config.task.examples=40", "--config.train.batch_size=4")
    arguments = ("--model", "lru", "--task", "text", "--data", "synthetic", *QUICK, *SIZES, *sizes)
    command = ("bench", "compile", *arguments, "--config.train.lengths=2", "--results", str(tmp_path))
    cached = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    assert main([*command]) == 0
    assert jax.config.jax_enable_compilation_cache == cached  # type: ignore[attr-defined]
    (record,) = store.read_all_speed(tmp_path)
    assert record.value("lengths") == 2 and (record.value("step_ms") or 0) > 0
    # No document of the validation or test split is as short as the lower length.
    for program, shapes in {"train": [(), (256,), (512,)], "statistics": [()], "score": [(512,)]}.items():
        for stage in ("trace_seconds", "lower_seconds", "compile_seconds", "cpu_seconds", "instructions"):
            assert all((record.value(f"{program}_{stage}", shape=shape) or 0) > 0 for shape in shapes)
    both, one = (record.value("train_instructions", shape=shape) or 0 for shape in ((), (512,)))
    assert both > one
    assert "train_compile_seconds at length 512" in capsys.readouterr().out


def test_a_flag_of_another_kind_is_refused(capsys):
    assert main(["bench", "step", "--model", "s5", "--task", "text", "--deadline", "1s"]) == 2
    assert "bench step takes no --deadline; it is for epoch, length, segments, scan, stream" in capsys.readouterr().err
