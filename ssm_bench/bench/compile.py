"""What it costs to build the programs of a run: tracing, lowering and compiling, without any cache."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict

from ssm_bench.bench.recording import Findings, sizes_of
from ssm_bench.data import Dataset
from ssm_bench.training.loop import Trainer, chunk_length
from ssm_bench.training.run import make_trainer


def measure_compile(
    config: ConfigDict, dataset: Dataset, *, steps: int = 0, repeats: int = 3, tell: Callable[[str], None]
) -> Findings:
    """Builds every program that `ssm-bench train` would run before its first evaluation ends.

    These are the chunk of training steps, the recomputation of batch statistics if the recipe has one, and the
    evaluation of each padded length. If documents have several padded lengths, the training program is also built for
    each length alone, which shows what a length costs.

    Args:
        config: resolved, as `open_data` returns it.
        dataset: its data.
        steps: steps of the chunk, which is then also timed; 0: those of the recipe, and nothing runs.
        repeats: how often the chunk is timed after a warm-up; the median counts.
        tell: called with a few words before each program.

    Returns:
        For each program ("train", "statistics", "score") `<program>_trace_seconds`, `_lower_seconds`,
        `_compile_seconds`, `_cpu_seconds` (of all three stages on all cores, which depends less on what else runs) and
        `_instructions` (of the optimized program); `initial_seconds`, from the configuration to the initial parameters;
        `lengths`, the number of padded lengths; `temporary_bytes` of the training program; if it was timed, `step_ms`
        and `step_cpu_ms`. The shape of a measurement is the padded length it is for.
    """
    findings = Findings()
    with cold():
        begun = time.perf_counter()
        trainer = make_trainer(config, dataset)
        state = trainer.program.initial_state()
        jax.block_until_ready(state)
        findings.add({"initial_seconds": round(time.perf_counter() - begun, 3), "lengths": len(trainer.padded)})
        size = steps or chunk_length(config.train.steps, config.train.evaluations, config.train.chunk)[1]
        for (program, number), trace in trainer.programs(state, size).items():
            shape = (number,) if program == "score" else ()
            tell(f"{program} {number}" if shape else program)
            found, compiled = built(trace)
            findings.add({f"{program}_{metric}": value for metric, value in found.items()}, shape=shape)
            if program == "train":
                memory = compiled.memory_analysis()
                if memory is not None:
                    findings.add({"temporary_bytes": int(memory.temp_size_in_bytes)})
                if steps:
                    findings.add(_step_times(trainer, compiled, steps, repeats))
        if len(trainer.padded) > 1:
            examples, sizes = trainer.order.batches(0, size)
            for length in trainer.padded:
                tell(f"train {length} alone")
                arguments = (state, *trainer.source.like(examples), np.zeros_like(sizes), (length,))
                found, _ = built(lambda arguments=arguments: trainer.program.train.trace(*arguments))
                findings.add({f"train_{metric}": value for metric, value in found.items()}, shape=(length,))
    findings.add({"batch_size": trainer.batch, "length": trainer.source.length} | sizes_of(config))
    return findings


def built(trace: Callable[[], jax.stages.Traced]) -> tuple[dict[str, float], jax.stages.Compiled]:
    """Seconds of each stage and the number of instructions of a program, and the program."""
    moments, begun = [time.perf_counter()], time.process_time()
    traced = trace()
    moments.append(time.perf_counter())
    lowered = traced.lower()
    moments.append(time.perf_counter())
    compiled = lowered.compile()
    moments.append(time.perf_counter())
    names = ("trace_seconds", "lower_seconds", "compile_seconds")
    found = {name: round(float(spent), 3) for name, spent in zip(names, np.diff(moments), strict=True)}
    found["cpu_seconds"] = round(time.process_time() - begun, 3)
    return found | {"instructions": (compiled.as_text() or "").count(" = ")}, compiled


@contextmanager
def cold() -> Iterator[None]:
    """Inside, programs are traced and compiled as by a new process without a cache of compiled programs."""
    used = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    jax.config.update("jax_enable_compilation_cache", False)
    # JAX decides only once whether it uses the cache.
    compilation_cache.reset_cache()
    jax.clear_caches()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", used)
        compilation_cache.reset_cache()


def _step_times(trainer: Trainer, compiled: jax.stages.Compiled, steps: int, repeats: int) -> dict[str, float]:
    """Milliseconds of a step of a training program of so many steps: on the clock, and of this process on all cores."""
    state, (examples, sizes) = trainer.program.initial_state(), trainer.order.batches(0, steps)
    batches = (*trainer.source.take(examples), sizes)
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter(), time.process_time()
        state, metrics = compiled(state, *batches)
        np.asarray(metrics)
        times.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    passed, used = 1000 * np.median(times[1:], 0) / steps
    return {"step_ms": round(float(passed), 4), "step_cpu_ms": round(float(used), 4)}
