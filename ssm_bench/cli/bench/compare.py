"""`ssm-bench bench compare`: the training step of one model with each of several backends, in one run."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _record
from ssm_bench.errors import UserError, unknown_name


def run(options: argparse.Namespace) -> int:
    """Times, prints and records; the last backend is what the others are compared with."""
    _record.model_and_task(options)
    if len(options.backends) < 2 or len(set(options.backends)) < len(options.backends):
        raise UserError(f"--backends takes two or more, like auto,associative; got {','.join(options.backends)}")
    _options.prepare_jax()
    import jax

    from ssm_bench.bench.step import measure_step
    from ssm_bench.config import override
    from ssm_bench.ops import use_backend
    from ssm_bench.ops.backends import BACKENDS
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.train.checks import writable
    from ssm_bench.train.run import make_trainer, open_data

    for backend in options.backends:
        if backend not in BACKENDS:
            raise unknown_name("--backends", backend, BACKENDS)
    config, dataset = open_data(override(_record.recipe(options, options.model), options.overrides))
    writable(options.results)
    screen, found = Screen(), {}
    for backend in options.backends:
        screen.line(f"{options.model} on {options.task}: {backend}")
        # Programs keep the backend they were traced with.
        jax.clear_caches()
        with use_backend(backend):
            trainer = make_trainer(config, dataset)
            found[backend] = measure_step(trainer, scan_steps=options.steps, repeats=options.repeats)
        del trainer
    reference = options.backends[-1]
    measurements = {}
    print(f"{options.model} on {options.task}, {_record.device_words()}")
    print(f"  {'backend':12}  {'ms a step':>10}  {'temporary bytes':>16}  against {reference}")
    for backend, one in found.items():
        ratio = round(found[reference]["step_ms"] / one["step_ms"], 3)
        measurements |= {f"{backend}_{name}": one[name] for name in one if name in COMPARED}
        if backend != reference:
            measurements[f"{backend}_times_faster"] = ratio
        shown = f"{one['temporary_bytes']:,}" if "temporary_bytes" in one else "-"
        print(f"  {backend:12}  {one['step_ms']:>10.3f}  {shown:>16}  {ratio:.2f} times")
    # The same for all.
    measurements |= {name: found[reference][name] for name in ("batch_size", "length")}
    measurements |= _record.sizes(config)
    _record.write(options, f"compare-{options.model}-{options.task}", measurements, model=options.model, config=config)
    return 0


#: What of a step is recorded for each backend; the peak of the process would be that of the largest.
COMPARED = ("step_ms", "step_ms_one_per_call", "compile_seconds", "temporary_bytes", "sequences_per_second")
