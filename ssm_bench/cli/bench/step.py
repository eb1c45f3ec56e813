"""`ssm-bench bench step`: the training step of one model, alone and in the loop."""

import argparse
import tempfile
from pathlib import Path

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared


def run(options: argparse.Namespace) -> int:
    """Times, prints and records."""
    _shared.need_model_and_task(options)
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench.recording import Findings, sizes_of
    from ssm_bench.bench.step import measure_loop, measure_step
    from ssm_bench.training.checkpoint import Checkpoints
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import make_trainer, open_data

    config, dataset = open_data(_shared.recipe(options, options.model))
    seeds, name = options.seeds, f"step-{options.model}-{options.task}"
    trainer = make_trainer(config, dataset, seeds=range(seeds) if seeds > 1 else ())
    writable(options.results)
    measured = measure_step(trainer, scan_steps=options.steps, repeats=options.repeats, brief=options.brief)
    if not options.brief:
        with tempfile.TemporaryDirectory() as folder:
            measured |= measure_loop(trainer, Checkpoints(Path(folder)))
    if seeds > 1:
        # Under a name of its own, since tables show step_ms as the time of one seed.
        measured = {"seeds": seeds, "together_step_ms": measured.pop("step_ms")} | measured
        name += f"-seeds-{seeds}"
    found = Findings()
    found.add(measured | sizes_of(config))
    print(f"{options.model} on {options.task}, {_shared.device_words()}")
    _shared.show(found)
    _shared.write(options, found, name, model=options.model, config=config)
    return 0
