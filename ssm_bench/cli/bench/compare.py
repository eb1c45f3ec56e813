"""`ssm-bench bench compare`: the training step of one model with each of several backends, in one run."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared
from ssm_bench.errors import UserError, unknown_name


def run(options: argparse.Namespace) -> int:
    """Times, prints and records; the last backend is what the others are compared with."""
    _shared.need_model_and_task(options)
    if len(options.backends) < 2 or len(set(options.backends)) < len(options.backends):
        raise UserError(f"--backends takes two or more, like auto,associative; got {','.join(options.backends)}")
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench.compare import compare_backends
    from ssm_bench.ops.backends import BACKENDS
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import open_data

    for backend in options.backends:
        if backend not in BACKENDS:
            raise unknown_name("--backends", backend, BACKENDS)
    config, dataset = open_data(_shared.recipe(options, options.model))
    writable(options.results)
    screen, subject = Screen(), f"{options.model} on {options.task}"
    found = compare_backends(
        config,
        dataset,
        options.backends,
        steps=options.steps,
        repeats=options.repeats,
        tell=lambda backend: screen.line(f"{subject}: {backend}"),
    )
    reference = options.backends[-1]
    print(f"{subject}, {_shared.device_words()}")
    print(f"  {'backend':12}  {'ms a step':>10}  {'temporary bytes':>16}  against {reference}")
    for backend in options.backends:
        memory = found.value("temporary_bytes", backend=backend)
        times = found.value("times_faster", backend=backend) or 1.0
        shown = "-" if memory is None else f"{memory:,}"
        print(f"  {backend:12}  {found.value('step_ms', backend=backend):>10.3f}  {shown:>16}  {times:.2f} times")
    _shared.write(options, found, f"compare-{options.model}-{options.task}", model=options.model, config=config)
    return 0
