"""Sequences per second over an epoch: documents differ in length."""

import time
from collections.abc import Callable

import numpy as np

from ssm_bench.training.loop import Trainer
from ssm_bench.training.stop import Stop


def measure_epoch(trainer: Trainer, *, chunk: int, stop: Stop, tell: Callable[[int, int], None]) -> dict[str, float]:
    """Times the steps of the first epoch, as training takes them: real lengths, many steps a call; no evaluation.

    Args:
        trainer: a run ready to start.
        chunk: steps in one call.
        stop: its deadline ends the epoch early.
        tell: called with (steps done, steps of the epoch) after every call.

    Returns:
        sequences_per_second and epoch_step_ms over epoch_steps steps of epoch_steps_planned, padded_share: positions of
        the batches over those of batches as long as the task, lengths: how many they were padded to, compile_seconds.
    """
    program, order = trainer.program, trainer.order
    planned = len(trainer.splits["train"]) // trainer.batch
    # Whole calls only: another number of steps is another program.
    chunk = min(chunk, planned)
    state = program.initial_state()
    begun = time.perf_counter()
    examples, sizes = order.batches(0, chunk)
    batches = (*trainer.source.take(examples), sizes)
    compiled = program.train.lower(state, *batches, trainer.padded).compile()
    compile_seconds = time.perf_counter() - begun
    # The first call of a program loads it.
    state, metrics = compiled(state, *batches)
    np.asarray(metrics)
    longest = trainer.source.length
    done, positions, seconds = 0, 0, 0.0
    while done + chunk <= planned and not (done and stop.reason(seconds / done * chunk)):
        begun = time.perf_counter()
        examples, sizes = order.batches(done, chunk)
        state, metrics = compiled(state, *trainer.source.take(examples), sizes)
        np.asarray(metrics)
        seconds += time.perf_counter() - begun
        positions += int(np.minimum(np.take(trainer.padded, sizes), longest).sum())
        done += chunk
        tell(done, planned)
    return {
        "sequences_per_second": round(done * trainer.batch / seconds, 2),
        "epoch_step_ms": round(1000 * seconds / done, 4),
        "epoch_steps": done,
        "epoch_steps_planned": planned,
        "padded_share": round(positions / (done * longest), 4),
        "lengths": len(trainer.padded),
        "compile_seconds": round(compile_seconds, 2),
        "batch_size": trainer.batch,
        "length": longest,
    }
