"""Runs on one and on two devices, in a process that has two: `test_devices` starts it and looks at the records."""

import sys
from pathlib import Path

from ssm_bench.cli import main
from ssm_bench.training import run

from .sharing import shared
from .test_loop import StopAfter, config_of, run_in

# Beside batch statistics, Fourier transforms and masks: dropout, and evaluation batches that two do not divide.
SETTINGS = ("--config.train.eval_batch_size=7", "--config.train.batch_size=6")


def run_all(folder: Path) -> None:
    """Leaves a record of every kind of run below the folder."""
    run.make_program = shared(run.make_program)
    config, dataset = config_of(*SETTINGS, model="s4d")
    run_in(folder / "one", config, dataset)
    for stop, devices in ((StopAfter(1), 2), (StopAfter(2), 1), (None, 2)):
        run_in(folder / "parts", config, dataset, stop, devices=devices)

    settings = ("--preset", "quick", "--data", "synthetic", "--config.train.steps=4", "--config.model.layers=1")
    settings += ("--config.task.max_length=64", "--config.task.examples=100", "--config.train.batch_size=6")
    outputs = ("--results", str(folder / "swept/results"), "--checkpoints", str(folder / "swept/ckpt"))
    sweep = ("sweep", "--models", "gru", "--tasks", "text", *settings, *outputs, "--no-table")
    train = ("train", "--model", "gru", "--task", "text", *settings, *outputs)
    # Nothing of a wrong one is left behind; the sweep has a device too few for two workers of two.
    for command in (
        (*sweep, "--devices", "2"),
        (*train, "--devices", "3", "--seed", "1"),
        (*train, "--devices", "2", "--config.train.batch_size=5"),
        (*sweep, "--devices", "2", "--config.train.batch_size=9"),
        (*sweep, "--devices", "2", "--jobs", "2"),
    ):
        print(main([*command]), file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
