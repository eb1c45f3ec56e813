"""Time and memory of a training step on one long sequence: whole, in segments, and divided among devices."""

import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from ssm_bench.bench import stream
from ssm_bench.bench.recording import Findings, sizes_of
from ssm_bench.data import Dataset
from ssm_bench.training import provenance, segments
from ssm_bench.training.devices import put
from ssm_bench.training.run import make_program, out_of_memory
from ssm_bench.training.stop import Stop

#: Positions of the examples that are opened; those that are timed are made on the device.
OPENED_LENGTH = 64


def make_streamed(config: ConfigDict, *, segment: int) -> None:
    """Changes a published recipe to its causal version that is trained by segments, one sequence per step, in place.

    Batch norm is replaced by layer norm, and the mixer has no dropout inside.
    """
    stream.make_causal(config)
    config.model.update(context=0, window=0)
    if config.model.norm == "batch":
        config.model.norm = "layer"
    for option in config.mixer:
        if option.endswith("dropout"):
            config.mixer[option] = 0.0
    config.train.update(batch_size=1, lengths=1, norm_batches=0, segment=segment)
    config.task.update(max_length=OPENED_LENGTH, examples=OPENED_LENGTH)


def measure_segments(
    config: ConfigDict,
    dataset: Dataset,
    lengths: Sequence[int],
    *,
    segment: int,
    devices: int = 1,
    repeats: int,
    stop: Stop,
    begin: Callable[[int, int], None],
    end: Callable[[int, int, Findings], None],
) -> Findings:
    """Times a training step at each length: in segments and at once, or at once on several devices (`train.divide`).

    Args:
        config: from `make_streamed`, resolved by `open_data`; its length and segment are changed.
        dataset: its data, which say no more than what the task is.
        lengths: of the sequence, growing.
        segment: positions of a segment.
        devices: number of devices that divide the time axis; more than one: nothing is timed in segments.
        repeats: steps that are timed after a first one; the median counts.
        stop: no measurement is started after its deadline.
        begin: called with each length and its segment, 0 for the whole sequence, before it is timed.
        end: called with both and the findings so far.

    Returns:
        step_ms, tokens_per_second, temporary_bytes of one device and compile_seconds, at the shape (length, segment)
        for segments and (length,) for whole sequences. A step that would not fit into the free memory has no time, and
        a note says so.

    Raises:
        SettingError: as `check` and `check_model` of `training.segments`, and `check_parts` of `training.devices`.
        UserError: there are fewer devices.
    """
    findings = Findings()
    config.train.divide = "time" if devices > 1 else "batch"
    for length in lengths:
        for size in (0,) if devices > 1 else (segment, 0):
            if reason := stop.reason():
                findings.notes.append(f"no time from {length} on: {reason}")
                return findings
            begin(length, size)
            config.task.max_length, config.train.segment = length, size
            if "max_steps" in config.mixer:
                config.mixer.max_steps = length
            segments.check(config)
            shape = (length, size) if size else (length,)
            words = f"{length} in segments of {size}" if size else f"{length} at once"
            try:
                found, fits = _measure_step(config, dataset, length, devices, repeats)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                found, fits = {}, False
            if not fits:
                findings.notes.append(f"no time for {words}: it does not fit in memory")
            findings.add(found, shape=shape)
            end(length, size, findings)
    findings.add({"batch_size": config.train.batch_size} | sizes_of(config))
    return findings


def _measure_step(
    config: ConfigDict, dataset: Dataset, length: int, devices: int, repeats: int
) -> tuple[dict[str, float], bool]:
    """The metrics of a step at that length, without times where it does not fit, and whether it fits."""
    program = make_program(config, dataset, devices=devices)
    state, data = program.initial_state(), _data(dataset, config.train.batch_size, length)
    data = put(data, program.placement.whole)
    batches = np.arange(config.train.batch_size, dtype=np.int32)[None]
    arguments = (data, batches, np.zeros(1, np.int32))
    begun = time.perf_counter()
    compiled = program.train.lower(state, *arguments, (length,)).compile()
    found: dict[str, float] = {"compile_seconds": round(time.perf_counter() - begun, 2)}
    if (memory := compiled.memory_analysis()) is not None:
        found["temporary_bytes"] = int(memory.temp_size_in_bytes)
    if (provenance.needed_memory_bytes(compiled) or 0) > stream.FREE_SHARE * stream.free_bytes():
        return found, False
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        state, metrics = compiled(state, *arguments)
        np.asarray(metrics)
        times.append(time.perf_counter() - begun)
    seconds = float(np.median(times[1:]))
    tokens = data["tokens"].size
    found |= {"step_ms": round(1000 * seconds, 4), "tokens_per_second": round(tokens / seconds, 1)}
    return found, True


def _data(dataset: Dataset, batch: int, length: int) -> dict[str, np.ndarray]:
    """Examples of that length, whose content changes no time."""
    count = dataset.documents.shape[1]
    return {
        "tokens": np.resize(np.array([0, 1], np.uint8), (batch * count, length)),
        "lengths": np.full(batch * count, length, np.int32),
        "documents": np.arange(batch * count, dtype=np.int32).reshape(batch, count),
        "labels": np.zeros(batch, np.int32),
        "numbers": np.arange(batch, dtype=np.int32),
    }
