"""`ssm-bench bench epoch`: sequences a second over an epoch of real data, whose documents differ in length."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _record


def run(options: argparse.Namespace) -> int:
    """Times, prints and records."""
    _record.model_and_task(options)
    _options.prepare_jax()
    from ssm_bench.bench.epoch import measure_epoch
    from ssm_bench.config import override
    from ssm_bench.sweep.progress import Screen, parse_duration
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.train.checks import writable
    from ssm_bench.train.run import make_trainer, open_data
    from ssm_bench.train.stop import Stop

    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    config = resolve(options.model, options.task, preset="paper", data=options.data, protocol=options.protocol)
    config, dataset = open_data(override(config, options.overrides), progress=True)
    writable(options.results)
    screen = Screen()

    def tell(done: int, planned: int) -> None:
        screen.line(f"{options.model} on {options.task}: {done} of {planned} steps")

    with Stop(deadline) as stop:
        trainer = make_trainer(config, dataset)
        measurements = measure_epoch(trainer, chunk=config.train.chunk, stop=stop, tell=tell)
    measurements |= _record.sizes(config)
    print(f"{options.model} on {options.task} ({dataset.card['identity']}), {_record.device_words()}")
    width = max(map(len, measurements))
    for key, value in measurements.items():
        print(f"  {key:{width}}  {value:,}")
    name = f"epoch-{options.model}-{options.task}"
    notes = [f"data: {dataset.card['identity']}"]
    _record.write(options, name, measurements, model=options.model, config=config, notes=notes)
    return 0
