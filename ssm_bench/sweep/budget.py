"""A time budget per cell becomes a share of its published schedule."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.record import config_hash
from ssm_bench.train.run import make_trainer

#: Shares a cell can get. Few and round, so that a small change of speed does not make another experiment.
SHARES = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)

#: Part of the time left for compiling, evaluating and saving.
OVERHEAD = 0.25

#: Enough for batches of all lengths.
PROBE_STEPS = 16


def check_budget(config: ConfigDict) -> None:
    """Refuses a budget for a run that has no published schedule to take a share of.

    Raises:
        UserError: it has none.
    """
    if not config.train.published_steps:
        raise UserError(
            f"--budget takes a share of the published steps, which a {config.preset} run has none of; "
            "use --preset budget"
        )


def planned_share(
    config: ConfigDict, dataset: Dataset, seconds: float, checkpoints: Path, *, devices: int = 1
) -> float:
    """The largest of SHARES whose steps fit into `seconds` on so many of the devices here.

    The choice is written beside the checkpoints: a sweep that is resumed keeps it.
    """
    identity = hashlib.sha256(f"{config_hash(config.to_dict())} {seconds:.0f}".encode()).hexdigest()[:12]
    file = checkpoints / config.preset / "plan" / f"{config.task.name}-{config.model.name}-{identity}.json"
    if file.is_file():
        return json.loads(file.read_text())["share"]
    step_seconds = probe(config, dataset, devices=devices)
    affordable = (1 - OVERHEAD) * seconds / step_seconds / config.train.published_steps
    share = max([s for s in SHARES if s <= affordable], default=SHARES[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"share": share, "step_seconds": step_seconds}) + "\n")
    return share


def probe(config: ConfigDict, dataset: Dataset, *, devices: int = 1) -> float:
    """Seconds of one training step here, compilation left out."""
    trainer = make_trainer(config, dataset, devices=devices)
    state = trainer.program.initial_state()
    batches = trainer.order.batches(0, PROBE_STEPS)
    state, metrics = trainer.program.train(state, trainer.data, *batches, trainer.padded)
    np.asarray(metrics)
    begun = time.monotonic()
    _, metrics = trainer.program.train(state, trainer.data, *batches, trainer.padded)
    np.asarray(metrics)
    return (time.monotonic() - begun) / PROBE_STEPS
