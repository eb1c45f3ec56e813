"""Times of tokens in a stream: that they are there, that the stream is read, and that gaps are told."""

import jax
import numpy as np
import pytest
from flax import nnx

from ssm_bench.bench import stream
from ssm_bench.bench.recording import Findings
from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.training.run import make_program
from ssm_bench.training.stop import Stop

LENGTHS = [64, 192]
SIZES = ("--config.model.d_model=8", "--config.model.layers=1", "--config.model.positions=none")


@pytest.fixture(scope="module")
def make():
    """Makes a small causal LRU, whatever the length."""
    overrides = (*SIZES, "--config.mixer.state_size=4", "--config.mixer.bidirectional=false")
    choices = Choices(preset="custom", data="synthetic", overrides=overrides)
    config, dataset = opened(choices.config(Cell(model="lru", task="listops", seed=0)))
    model = make_program(config, dataset).model
    return lambda length: model


def silent(words):
    """No progress."""


def test_a_stream_of_a_constant_state_is_read_and_timed(make):
    found = stream.measure_stream(make, LENGTHS, Stop(), silent)
    for length in LENGTHS:
        times = [found.value(metric, shape=(length,)) for metric in ("latency_ms", "latency_ms_one_per_call")]
        assert all(time and time > 0 for time in times)
        # Four complex states, the sum of eight features, and how many there were.
        assert found.value("state_bytes", shape=(length,)) == 4 * (2 * 4 + 8 + 1)
    assert found.notes == []


class Clock:
    """Stands for the module time: it goes on only when it is told to."""

    def __init__(self):
        self.now = 0.0
        self.perf_counter = self.monotonic = lambda: self.now


def test_the_rate_of_reading_is_that_of_the_calls_that_read(make, monkeypatch):
    clock, real, compiled = Clock(), stream._compiled, []

    def slowly_compiled(run, model, count):
        """Compiling takes 1000 seconds, reading a chunk half a second, any other call 7 seconds."""
        clock.now += 1000
        compiled.append(run)
        program = real(run, model, count)

        def timed(*arguments):
            clock.now += 0.5 if run is stream._read else 7
            return program(*arguments)

        timed.memory_analysis = program.memory_analysis
        return timed

    monkeypatch.setattr(stream, "time", clock)
    monkeypatch.setattr(stream, "_compiled", slowly_compiled)
    told = []
    found = stream.measure_stream(make, LENGTHS, Stop(), told.append)
    assert found.value("chunk_tokens_per_second") == 64 / 0.5
    assert compiled.count(stream._read) == 1
    assert "192 of 192 tokens, 128 tokens/s" in told


def test_the_programs_that_are_timed_compute_the_model(make):
    model = make(0)
    tokens = np.arange(64, dtype=np.uint8) % 2
    whole = nnx.merge(model.graph, model.params, model.stats)(tokens[None, None])
    for run in (stream._read, stream._steps):
        program = stream._compiled(run, model, 64)
        logits, _ = program(model.params, model.stats, stream.initial_state(model), jax.numpy.asarray(tokens))
        np.testing.assert_allclose(logits, whole, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_said_in_words(make, monkeypatch):
    monkeypatch.setattr(stream, "free_bytes", lambda: 10.0)
    found = stream.measure_stream(make, LENGTHS, Stop(), silent)
    assert [m.metric for m in found.measurements] == ["parameters"]
    assert found.notes == [f"no time at {n}: a state of 68 bytes does not fit in memory" for n in LENGTHS]


def test_what_a_step_takes_beside_the_state_counts(make, monkeypatch):
    monkeypatch.setattr(stream, "needed_bytes", lambda program, state: state + 1000)
    monkeypatch.setattr(stream, "free_bytes", lambda: 1000.0)
    assert len(stream.measure_stream(make, LENGTHS, Stop(), silent).notes) == len(LENGTHS)
    program = stream._compiled(stream._steps, make(0), 1)
    monkeypatch.undo()
    assert stream.needed_bytes(program, 68) == 68 + program.memory_analysis().temp_size_in_bytes


def test_a_stream_out_of_time_says_so(make):
    found = stream.measure_stream(make, LENGTHS, Stop(1.0), silent)
    assert found.value("latency_ms", shape=(64,)) is None and found.notes == ["no time from 64 on: deadline"]


@pytest.mark.parametrize("lengths", [",", "0,64", "128,64", "64,64"])
def test_lengths_grow(lengths, capsys):
    assert main(["bench", "stream", "--models", "lru", "--lengths", lengths]) == 2
    assert f"--lengths takes growing whole numbers like 1024,16384; got {lengths}" in capsys.readouterr().err


def test_chunks_divide_every_length():
    assert stream.chunk_of([1024, 16384]) == 1024
    assert stream.chunk_of([2**20]) == stream.CHUNK
    with pytest.raises(UserError, match="multiples of one number from 64 on; the largest is 3"):
        stream.chunk_of([999, 1002])


def test_the_verb_records_and_the_figure_shows_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stream.provenance, "peak_memory_bytes", lambda: 10**6)
    arguments = ("bench", "stream", "--models", "lru,transformer", "--lengths", "64,128", *SIZES)
    assert main([*arguments, "--config.model.d_model=16", "--name", "small"]) == 0
    assert "the cache is as long as the stream and empty" in capsys.readouterr().out
    lru, transformer = store.read_all_speed("results")
    assert (lru.name, transformer.name) == ("small-lru", "small-transformer")
    assert lru.notes == [] and lru.overrides == {
        "config.model.d_model": "16",
        "config.model.layers": "1",
        "config.model.positions": "none",
    }
    sizes = [transformer.value("state_bytes", shape=(length,)) or 0 for length in (64, 128)]
    assert sizes[1] > 1.9 * sizes[0] and transformer.notes
    # The peak is that of the process, so that a later model's would hold the first one's.
    assert lru.value("peak_bytes", shape=(64,)) == 10**6
    assert not any(m.metric == "peak_bytes" for m in transformer.measurements)
    assert main(["figures"]) == 0
    platform = jax.default_backend()
    assert (tmp_path / f"results/figures/speed/stream-listops-{platform}.svg").read_text().startswith("<?xml")
    assert main(["verify"]) == 0


@pytest.mark.parametrize(("arguments", "name"), [((), "stream-lru"), (("--task", "text"), "stream-lru-text")])
def test_the_name_tells_another_task(tmp_path, monkeypatch, arguments, name):
    found = Findings()
    found.add({"parameters": 1})
    monkeypatch.setattr(stream, "measure_stream", lambda *_, **__: found)
    command = ("bench", "stream", "--models", "lru", "--lengths", "64", "--results", str(tmp_path))
    assert main([*command, *arguments]) == 0
    (record,) = store.read_all_speed(tmp_path)
    assert record.name == f"{name}-{jax.default_backend()}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--lengths", "64"), "bench stream takes --models, like s5,transformer"),
        (("--models", "lru", "--lengths", "a"), "--lengths takes growing whole numbers like 1024,16384; got a"),
        (("--models", "lru", "--lengths", "64", "--task", "retrieval"), "streams are single documents"),
        (("--models", "lru", "--lengths", "64", "--config.mixer.bidirectional=true"), "bidirectional must be false"),
        (("--models", "lru", "--lengths", "64", "--config.model.pooling=cls"), "pooling must be mean or last; got cls"),
        (("--models", "lru", "--lengths", "64", "--config.model.positions=learned"), "positions must be none; got"),
        (("--models", "lru", "--lengths", "64", "--config.model.context=2"), "context must be 0; got 2"),
        (("--models", "bigbird", "--lengths", "64"), "a stream is read forward, which the mixer bigbird cannot"),
        (("--models", "luna", "--lengths", "64"), "a stream is read forward, which the mixer luna cannot"),
        (
            ("--models", "lru", "--lengths", "64", "--config.model.head_width=-1"),
            "head_width must be at least 0; got -1",
        ),
        (("--models", "lru", "--lengths", "64", "--results", "/dev/null/x"), "cannot write to the folder /dev/null/x"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, capsys):
    assert main(["bench", "stream", "--name", "x", *arguments]) == 2
    assert sentence in capsys.readouterr().err
