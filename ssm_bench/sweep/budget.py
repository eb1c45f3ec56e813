"""A time budget per cell becomes a share of its published schedule."""

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

#: Shares a cell can get. Few and round, so that a small change of speed does not make another experiment.
SHARES = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)

#: Part of the time left for compiling and saving.
OVERHEAD = 0.25

#: Enough for batches of all lengths.
PROBE_STEPS = 16


class NoMemory(Exception):
    """A training step does not fit into memory, whatever the share."""


def check_budget(config: ConfigDict) -> None:
    """Refuses a budget for a run that has no published schedule to take a share of, or stands for all of it.

    Raises:
        UserError: so it is.
    """
    if config.preset == "paper":
        raise UserError("--budget takes a share of the published steps, and a paper run takes all; use --preset budget")
    if not config.train.published_steps:
        raise UserError(
            f"--budget takes a share of the published steps, which a {config.preset} run has none of; "
            "use --preset budget"
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
        config: of the cell, with the share of its preset.
        dataset: its data.
        seconds: time for its run.
        checkpoints: the folder of all checkpoints.
        at_share: the configuration with a share.
        stop: when to abandon the timing.
        devices: how many share every batch.
        timing: whether steps may be timed if no share was chosen before.

    Raises:
        UserError: the smallest share does not fit, or none was chosen before and `timing` is false.
        NoMemory: the timed steps ran out of memory.
        Stopped: a stop was requested before the end of the timing.
    """
    identity = hashlib.sha256(f"{config_hash(recipe(config))} {seconds:.0f}".encode()).hexdigest()[:12]
    file = checkpoints / config.preset / "plan" / f"{config.task.name}-{config.model.name}-{identity}.json"
    # One process times the cell. Those with other seeds of it wait and take the same share: they are one experiment.
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
                f"--budget leaves {duration(seconds)} for {config.model.name} on {config.task.name}, whose "
                f"least share, {100 * least:g} % of the schedule, takes {duration(run_seconds(least))} here"
            )
        store.write_text(json.dumps({"share": max(fitting), "step_seconds": step_seconds}) + "\n", file)
    return max(fitting)


def _run_steps(config: ConfigDict, dataset: Dataset) -> float:
    """The length of a run in training steps, its evaluations included."""
    train = config.train
    scored = train.evaluations * len(dataset.splits["validation"]) + len(dataset.splits["test"])
    return train.steps + SCORING * scored / train.batch_size


def _kept(file: Path) -> float | None:
    """The share that was chosen before; None if there is none, or if its file is damaged, which a warning says."""
    if not os.path.lexists(file):
        return None
    try:
        share = json.loads(file.read_bytes())["share"] if file.is_file() else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        share = None
    if isinstance(share, int | float) and share is not True and 0 < share <= 1:
        return float(share)
    LOG.warning("the plan %s does not hold a share in (0, 1]: choosing one again", file)
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
