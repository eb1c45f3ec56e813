"""Speed of the training step: compile time, time per step alone and in the real loop, memory."""

import itertools
import time
from typing import Any

import numpy as np

from ssm_bench.training import provenance
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.loop import Trainer
from ssm_bench.training.stop import Stop


def measure_step(trainer: Trainer, *, scan_steps: int = 100, repeats: int = 3, brief: bool = False) -> dict[str, float]:
    """Times the training step; every figure is a median over `repeats` after one warm-up call.

    Args:
        trainer: a run ready to start; its state is not changed.
        scan_steps: steps of the one long scan, what the device does without the host.
        repeats: how often each is timed.
        brief: the long scan only.

    Returns:
        step_ms (in one long scan), unless brief step_ms_one_per_call (host waits for every step), sequences_per_second
        and tokens_per_second (of all seeds, padding counted), compile_seconds, temporary_bytes, and peak_bytes where
        the device reports.
    """
    program = trainer.program

    found: dict[str, float] = {}
    per_step = {}
    kinds = {"step_ms": scan_steps} | ({} if brief else {"step_ms_one_per_call": 1})
    for name, count in kinds.items():
        state, (examples, sizes) = program.initial_state(), trainer.order.batches(0, count)
        batches = (*trainer.source.take(examples), sizes)
        begun = time.perf_counter()
        compiled = program.train.lower(state, *batches, trainer.padded).compile()
        found.setdefault("compile_seconds", round(time.perf_counter() - begun, 2))
        # No more single steps than the long scans had, which may be slow.
        calls = repeats if count > 1 else repeats * min(20, scan_steps)
        times = []
        for _ in range(calls + 1):
            begun = time.perf_counter()
            state, metrics = compiled(state, *batches)
            np.asarray(metrics)
            times.append((time.perf_counter() - begun) / count)
        per_step[name] = float(np.median(times[1:]))
        memory = compiled.memory_analysis()
        if memory is not None and name == "step_ms":
            found["temporary_bytes"] = int(memory.temp_size_in_bytes)
    length = batches[0]["tokens"].shape[1] * batches[0]["documents"].shape[1]
    found |= {name: round(1000 * seconds, 4) for name, seconds in per_step.items()}
    sequences = trainer.batch * len(trainer.outcomes)
    found["sequences_per_second"] = round(sequences / per_step["step_ms"], 2)
    found["tokens_per_second"] = round(sequences * length / per_step["step_ms"], 1)
    found["batch_size"] = trainer.batch
    found["length"] = trainer.source.length
    if (peak := provenance.peak_memory_bytes()) is not None:
        found["peak_bytes"] = peak
    return found


def measure_loop(trainer: Trainer, checkpoints: Checkpoints) -> dict[str, float]:
    """Times the real training loop, from order to metrics, over the run's own steps, which make four chunks or more."""
    ticks: list[tuple[int, float]] = []

    def tell(step: int, steps: int, rate: float, words: str) -> None:
        ticks.append((step, time.perf_counter()))

    begun = time.perf_counter()
    outcome: Any = trainer.fit(checkpoints, Stop(), tell)
    whole = time.perf_counter() - begun
    seconds = outcome.seconds
    # From one chunk's end to the next: order, transfer, steps, metrics. The first chunk holds the compilation,
    # the last one evaluation and checkpoint.
    gaps = [(t - u) / (s - r) for (r, u), (s, t) in itertools.pairwise(ticks[:-1])]
    return {
        "loop_step_ms": round(1000 * float(np.median(gaps)), 4),
        "loop_seconds": round(whole, 2),
        "loop_compile_seconds": round(seconds["compile"], 2),
        "loop_evaluate_seconds": round(seconds["evaluate"], 2),
        "loop_steps": outcome.step,
    }
