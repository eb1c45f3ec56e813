"""`ssm-bench export`: a trained model as a folder with its arrays, its configuration and a model card."""

import argparse
from pathlib import Path

from ssm_bench.cli import _options

HELP = "write a trained model as a folder: safetensors, configuration, model card"
EXAMPLE = """example:
  ssm-bench export results/runs/quick/listops/s5/*.json --out s5-listops

The record identifies the run. Its checkpoint, or the model kept by `ssm-bench train --keep-model`, must still exist.
In Python, `ssm_bench.load("s5-listops")` reads the folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("record", type=Path, help="the record of the run")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--checkpoints", type=Path, help="default: checkpoints next to the folder of results")


def run(options: argparse.Namespace) -> int:
    """Runs the verb."""
    _options.prepare_jax()
    from ssm_bench.training import trained

    print(f"wrote {trained.of_record(options.record, options.checkpoints).save(options.out)}")
    return 0
