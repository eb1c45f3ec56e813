"""Time and memory of the training step against the length of the input, with as many tokens in every batch."""

from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from ssm_bench.bench.recording import Findings, sizes_of
from ssm_bench.bench.step import measure_step
from ssm_bench.training.run import make_trainer, open_data, out_of_memory
from ssm_bench.training.stop import Stop

#: The metrics of a step that are kept at each length.
KEPT = ("step_ms", "tokens_per_second", "temporary_bytes", "compile_seconds", "batch_size")


def time_lengths(
    config: ConfigDict,
    lengths: Sequence[int],
    *,
    tokens: int,
    steps: int,
    repeats: int,
    stop: Stop,
    begin: Callable[[int], None],
    end: Callable[[int, Findings], None],
) -> tuple[Findings, ConfigDict | None]:
    """Times a step at each length. Lengths that exceed the memory or the time are named in notes.

    Args:
        config: a recipe with its overrides, not yet opened; its length and batch size are changed.
        lengths: increasing.
        tokens: of a batch, at least the longest length.
        steps: of the long scan of `measure_step`.
        repeats: of `measure_step`.
        stop: no length is started after its deadline.
        begin: called with each length before it is timed.
        end: called with each length that was timed, and the findings so far.

    Returns:
        The findings, and the configuration of the first length that ran; None if none ran.
    """
    findings, first = Findings(), None
    for length in lengths:
        if reason := stop.reason():
            findings.notes.append(f"no time from {length} on: {reason}")
            break
        begin(length)
        batch = tokens // length
        config.task.update(max_length=length, examples=batch)
        config.train.batch_size = batch
        try:
            opened, dataset = open_data(config)
            found = measure_step(make_trainer(opened, dataset), scan_steps=steps, repeats=repeats)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            findings.notes.append(f"out of memory at {length}")
            continue
        first = first or opened
        findings.add({metric: found[metric] for metric in KEPT if metric in found}, shape=(length,))
        end(length, findings)
    if first:
        findings.add({"tokens": tokens} | sizes_of(first))
    return findings, first
