"""`ssm-bench bench epoch`: sequences a second over an epoch of real data, whose documents differ in length."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared


def run(options: argparse.Namespace) -> int:
    """Times, prints and records."""
    _shared.need_model_and_task(options)
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench.epoch import measure_epoch
    from ssm_bench.bench.recording import Findings, sizes_of
    from ssm_bench.config import override
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import make_trainer, open_data
    from ssm_bench.training.stop import Stop

    deadline = _shared.deadline_of(options)
    config = resolve(options.model, options.task, preset="paper", data=options.data, protocol=options.protocol)
    config, dataset = open_data(override(config, options.overrides), progress=True)
    writable(options.results)
    screen, subject = Screen(), f"{options.model} on {options.task}"

    def tell(done: int, planned: int) -> None:
        screen.line(f"{subject}: {done} of {planned} steps")

    found = Findings(notes=[f"data: {dataset.card['identity']}"])
    with Stop(deadline) as stop:
        trainer = make_trainer(config, dataset)
        found.add(measure_epoch(trainer, chunk=config.train.chunk, stop=stop, tell=tell) | sizes_of(config))
    print(f"{subject} ({dataset.card['identity']}), {_shared.device_words()}")
    _shared.show(found)
    _shared.write(options, found, f"epoch-{options.model}-{options.task}", model=options.model, config=config)
    return 0
