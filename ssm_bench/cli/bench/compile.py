"""`ssm-bench bench compile`: how long the programs of a run take to build."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared


def run(options: argparse.Namespace) -> int:
    """Builds, prints and records."""
    _shared.need_model_and_task(options)
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench.compile import measure_compile
    from ssm_bench.config import override
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import open_data

    config = resolve(options.model, options.task, preset="paper", data=options.data, protocol=options.protocol)
    config, dataset = open_data(override(config, options.overrides), progress=True)
    writable(options.results)
    screen, subject = Screen(), f"{options.model} on {options.task}"
    found = measure_compile(
        config,
        dataset,
        steps=options.steps,
        repeats=options.repeats,
        tell=lambda program: screen.line(f"{subject}: {program}"),
    )
    found.notes.append(f"data: {dataset.card['identity']}")
    print(f"{subject} ({dataset.card['identity']}), {_shared.device_words()}")
    _shared.show(found)
    for measured in found.measurements:
        if measured.shape and measured.metric.endswith("_compile_seconds"):
            print(f"  {measured.metric} at length {measured.shape[0]:,}: {measured.value}")
    _shared.write(options, found, f"compile-{options.model}-{options.task}", model=options.model, config=config)
    return 0
