"""The training step of one model with each of several backends."""

from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from ssm_bench.bench.recording import Findings, sizes_of
from ssm_bench.bench.step import measure_step
from ssm_bench.data import Dataset
from ssm_bench.ops import use_backend
from ssm_bench.training.run import make_trainer

#: The metrics of a step that are kept for each backend; the peak of the process would be that of the largest.
COMPARED = ("step_ms", "step_ms_one_per_call", "compile_seconds", "temporary_bytes", "sequences_per_second")


def compare_backends(
    config: ConfigDict,
    dataset: Dataset,
    backends: Sequence[str],
    *,
    steps: int,
    repeats: int,
    tell: Callable[[str], None],
) -> Findings:
    """Times the step with each backend; `times_faster` compares each with the last one.

    Args:
        config: resolved, as `open_data` returns it.
        dataset: its data.
        backends: two or more of `ops.backends.BACKENDS`.
        steps: of the long scan of `measure_step`.
        repeats: of `measure_step`.
        tell: called with each backend before it is timed.
    """
    found = {}
    for backend in backends:
        tell(backend)
        # Programs keep the backend that they were traced with.
        jax.clear_caches()
        with use_backend(backend):
            found[backend] = measure_step(make_trainer(config, dataset), scan_steps=steps, repeats=repeats)
    reference = found[backends[-1]]
    findings = Findings()
    for backend, one in found.items():
        findings.add({metric: one[metric] for metric in COMPARED if metric in one}, backend=backend)
        if one is not reference:
            findings.add({"times_faster": round(reference["step_ms"] / one["step_ms"], 3)}, backend=backend)
    findings.add({size: reference[size] for size in ("batch_size", "length")} | sizes_of(config))
    return findings
