"""Converts the time budget of a cell to a share of its published schedule."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.record import config_hash, store
from ssm_bench.sweep.progress import duration
from ssm_bench.training.identity import recipe
from ssm_bench.training.loop import SCORING
from ssm_bench.training.run import make_trainer, memory_advice, out_of_memory
from ssm_bench.training.stop import Stop

LOG = logging.getLogger(__name__)

#: Allowed shares. There are few, so that a small change of speed does not result in a different experiment.
SHARES = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)

#: Fraction of the time that is reserved for compilation and saving.
OVERHEAD = 0.25

#: Enough for batches of all lengths.
PROBE_STEPS = 16


class NoMemory(Exception):
    """A training step does not fit into memory, whatever the share."""


def check_budget(config: ConfigDict) -> None:
    """Checks that a run can have a budget: it needs a published schedule, and its preset must allow a share of it.

    Raises:
        UserError: the run cannot have a budget.
    """
    if config.preset == "paper":
        raise UserError("--budget needs a share of the published steps, but a paper run uses all; use --preset budget")
    if not config.train.published_steps:
        raise UserError(
            f"--budget needs a share of the published steps, but a {config.preset} run has none; use --preset budget"
        )


def planned_share(
    config: ConfigDict,
    dataset: Dataset,
    seconds: float,
    checkpoints: Path,
    *,
    at_share: Callable[[float], ConfigDict],
    stop: Stop,
    devices: int = 1,
    timing: bool = True,
) -> float:
    """The largest of SHARES whose steps and evaluations fit into `seconds` on `devices` devices of this machine.

    The choice is written to a file next to the checkpoints, which a resumed sweep reads.

    Args:
        config: the configuration of the cell, with the share of its preset.
        dataset: its data.
        seconds: time for its run.
        checkpoints: the folder of all checkpoints.
        at_share: returns the configuration with a given share.
        stop: deadline and signals, which abandon the timing.
        devices: number of devices that share every batch.
        timing: whether steps may be timed if no share was chosen before.

    Raises:
        UserError: the smallest share does not fit, or none was chosen before and `timing` is false.
        NoMemory: the timed steps ran out of memory.
        Stopped: a stop was requested before the end of the timing.
    """
    identity = hashlib.sha256(f"{config_hash(recipe(config))} {seconds:.0f}".encode()).hexdigest()[:12]
    file = checkpoints / config.preset / "plan" / f"{config.task.name}-{config.model.name}-{identity}.json"
    # One process times the cell. Processes with other seeds of the cell wait and use the same share.
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_suffix(".lock")).acquire()
    except OSError as error:
        raise UserError(
            f"cannot lock the plan {file}: {error.strerror}; use another folder for --checkpoints"
        ) from error
    with lock:
        if (share := _kept(file)) is not None:
            return share
        if not timing:
            raise UserError(f"no share of {config.model.name} on {config.task.name} was chosen before")
        try:
            step_seconds = stop.attempt(partial(probe, config, dataset, devices=devices))
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise NoMemory(memory_advice(config, dataset)) from error

        def run_seconds(share: float) -> float:
            return _run_steps(at_share(share), dataset) * step_seconds / (1 - OVERHEAD)

        fitting = [share for share in SHARES if run_seconds(share) <= seconds]
        if not fitting:
            least = SHARES[0]
            raise UserError(
                f"--budget leaves {duration(seconds)} for {config.model.name} on {config.task.name}, but the smallest "
                f"share, {100 * least:g} % of the schedule, takes {duration(run_seconds(least))} here"
            )
        store.write_text(json.dumps({"share": max(fitting), "step_seconds": step_seconds}) + "\n", file)
    return max(fitting)


def _run_steps(config: ConfigDict, dataset: Dataset) -> float:
    """The length of a run in training steps, including its evaluations."""
    train = config.train
    scored = train.evaluations * len(dataset.splits["validation"]) + len(dataset.splits["test"])
    return train.steps + SCORING * scored / train.batch_size


def _kept(file: Path) -> float | None:
    """The share that was chosen before; None if there is none, or, with a warning, if its file is damaged."""
    if not os.path.lexists(file):
        return None
    try:
        share = json.loads(file.read_bytes())["share"] if file.is_file() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        share = None
    if isinstance(share, int | float) and share is not True and 0 < share <= 1:
        return float(share)
    LOG.warning("the plan %s does not contain a share in (0, 1]: choosing a new one", file)
    return None


def probe(config: ConfigDict, dataset: Dataset, *, devices: int = 1) -> float:
    """Seconds of one training step on this machine, without compilation."""
    trainer = make_trainer(config, dataset, devices=devices)
    state = trainer.program.initial_state()
    examples, sizes = trainer.order.batches(0, PROBE_STEPS)
    batches = (*trainer.source.take(examples), sizes)
    state, metrics = trainer.program.train(state, *batches, trainer.padded)
    np.asarray(metrics)
    begun = time.monotonic()
    _, metrics = trainer.program.train(state, *batches, trainer.padded)
    np.asarray(metrics)
    return (time.monotonic() - begun) / PROBE_STEPS
