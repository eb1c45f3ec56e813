"""`ssm-bench bench step`: the training step of one model, alone and in the loop."""

import argparse
import tempfile
from pathlib import Path

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _record


def run(options: argparse.Namespace) -> int:
    """Times, prints and records."""
    _record.model_and_task(options)
    _options.prepare_jax()
    from ssm_bench.bench.step import measure_loop, measure_step
    from ssm_bench.config import override
    from ssm_bench.train.checkpoint import Checkpoints
    from ssm_bench.train.checks import writable
    from ssm_bench.train.run import make_trainer, open_data

    config, dataset = open_data(override(_record.recipe(options, options.model), options.overrides))
    seeds = options.seeds
    trainer = make_trainer(config, dataset, seeds=range(seeds) if seeds > 1 else ())
    writable(options.results)
    measurements = measure_step(trainer, scan_steps=options.steps, repeats=options.repeats, brief=options.brief)
    if not options.brief:
        with tempfile.TemporaryDirectory() as folder:
            measurements |= measure_loop(trainer, Checkpoints(Path(folder)))
    name = f"step-{options.model}-{options.task}"
    if seeds > 1:
        # Under a name of its own, since tables show step_ms as the time of one seed.
        measurements = {"seeds": seeds, "together_step_ms": measurements.pop("step_ms")} | measurements
        name += f"-seeds-{seeds}"
    measurements |= _record.sizes(config)
    print(f"{options.model} on {options.task}, {_record.device_words()}")
    width = max(map(len, measurements))
    for key, value in measurements.items():
        print(f"  {key:{width}}  {value:,}")
    _record.write(options, name, measurements, model=options.model, config=config)
    return 0
