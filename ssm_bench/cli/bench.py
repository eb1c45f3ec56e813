"""`ssm-bench bench`: speed, measured and recorded."""

import argparse
import re
from pathlib import Path

from ssm_bench.cli import _options

HELP = "measure the speed of the training step and write it as a record"
EXAMPLE = """example:
  ssm-bench bench step --model s5 --task listops

Sizes are the published ones on synthetic data; --config.x.y=value changes them."""

KINDS = ("step",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("what", help="step: the training step, alone and in the loop")
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--steps", type=int, default=100, help="steps in the one long scan (default: 100)")
    parser.add_argument("--repeats", type=int, default=3, help="timings, of which the median counts (default: 3)")
    parser.add_argument("--name", default="", help="name of the record (default: step-<model>-<task>-<platform>)")
    parser.add_argument("--protocol", default="strict", help="strict (default) or paper")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records (default: results)")
    _options.accept_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb: prints the figures and writes results/speed/<name>.json."""
    from ssm_bench.errors import UserError, unknown_name

    if options.what not in KINDS:
        raise unknown_name("bench", options.what, KINDS)
    for flag in ("steps", "repeats"):
        if getattr(options, flag) < 1:
            raise UserError(f"--{flag} must be at least 1; got {getattr(options, flag)}")
    if options.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", options.name):
        raise UserError(f"--name takes letters, digits, '.', '_' and '-'; got {options.name!r}")
    _options.prepare_jax()
    import tempfile

    from ssm_bench.config import override
    from ssm_bench.data import spec
    from ssm_bench.record import config_hash, store, validate_speed
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.train import provenance
    from ssm_bench.train.checkpoint import Checkpoints
    from ssm_bench.train.run import make_trainer, open_data
    from ssm_bench.train.speed import measure_loop, measure_step

    config = resolve(options.model, options.task, preset="paper", data="synthetic", protocol=options.protocol)
    config.task.max_length = spec(options.task).max_length
    config.train.update(steps=4 * config.train.chunk, evaluations=1)
    config, dataset = open_data(override(config, options.overrides))
    trainer = make_trainer(config, dataset)
    measurements = measure_step(trainer, scan_steps=options.steps, repeats=options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        measurements |= measure_loop(trainer, checkpoints)
        checkpoints.close()
    device = provenance.device()
    name = options.name or f"step-{options.model}-{options.task}-{device['platform']}"
    record = validate_speed(
        {
            "schema_version": 1,
            "kind": "speed",
            "name": name,
            "model": options.model,
            "task": options.task,
            "measurements": measurements,
            "config_hash": config_hash(config.to_dict()),
            "device": device,
            "versions": provenance.versions(),
            "revision": provenance.revision(),
            "created": provenance.now(),
        }
    )
    path = store.write_speed(record, options.results)
    width = max(map(len, measurements))
    print(f"{options.model} on {options.task}, {device['count']} x {device['kind']}")
    for key, value in measurements.items():
        print(f"  {key:{width}}  {value:,}")
    print(f"written to {path}")
    return 0
