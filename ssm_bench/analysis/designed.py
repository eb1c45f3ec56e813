"""Designed experiments: what the records of a plan say about one question, as tables of accuracies.

The plans are `experiments/locality.yaml`, `experiments/selectivity.yaml` and `experiments/probes.yaml`. Each function
takes the finished records of one plan and returns one row for each setting: the mean test accuracy over seeds and its
95 % half-width in percent, both as in the tables, and the paths of the records in the folder of results.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from ssm_bench.analysis import subject
from ssm_bench.analysis.spectrum import spectrum
from ssm_bench.record import RunRecord, completed, store
from ssm_bench.report import aggregate

#: What limits the context -> the setting that does, where 0 stands for no limit. Pieces are those of the whole model; a
#: window is that of each layer, so that the context grows with the depth.
LIMITS = {"pieces": "model.window", "window of each layer": "mixer.window"}

#: Positions that a time-varying model reads while its eigenvalues are computed.
LENGTH = 256


def locality(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Accuracy against the positions that a model sees at once.

    Args:
        records: of one plan.

    Returns:
        Columns task, model, limit (one of LIMITS), positions (the length of the task without a limit), unlimited,
        accuracy, half_width, seeds, chance, records. A run without a limit has a row for each limit that
        other runs of its model have.
    """
    of_runs = [{limit: _setting(run, name) for limit, name in LIMITS.items()} for run in records]
    limits_of: dict[str, set[str]] = {}
    for run, limits in zip(records, of_runs, strict=True):
        limits_of.setdefault(run.model.title, set()).update(limit for limit, positions in limits.items() if positions)
    found = []
    for run, limits in zip(records, of_runs, strict=True):
        unlimited = not any(limits.values())
        for limit, positions in limits.items():
            if positions or (unlimited and limit in (limits_of[run.model.title] or {"pieces"})):
                description = {"task": run.task.title, "model": run.model.title, "limit": limit}
                found.append((description | {"positions": positions or run.task.length, "unlimited": unlimited}, run))
    return _accuracies(found)


def _setting(run: RunRecord, name: str) -> Any:
    """A setting of a run; 0 if its model does not have it."""
    section, _, option = name.partition(".")
    return run.config.get(section, {}).get(option, 0)


def probes(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Accuracy by model, probe and state size.

    Returns:
        Columns task, model, state_size (missing where it grows with the length), accuracy, half_width, seeds, chance,
        records.
    """
    found = _accuracies(
        ({"task": run.task.title, "model": run.model.title, "state_size": run.model.state_size}, run) for run in records
    )
    return found.astype({"state_size": "Int64"})


def selectivity(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Accuracy against the initial decay of the states.

    The decay is computed from the model that a record describes, with its initial parameters and synthetic inputs:
    medians over all eigenvalues of a layer, and over layers.

    Returns:
        Columns task, model, modulus (of the median eigenvalue), steps (its time constant), accuracy, half_width, seeds,
        chance, records.
    """
    decays: dict[str, dict[str, float]] = {}
    found = []
    for run in records:
        # Seeds differ a little in their eigenvalues; the first one stands for all.
        key = f"{run.model.name} {run.task.name} {run.config_hash}"
        decays[key] = decays.get(key) or initial_decay(run)
        found.append(({"task": run.task.title, "model": run.model.title} | decays[key], run))
    return _accuracies(found)


def initial_decay(run: RunRecord) -> dict[str, float]:
    """The median modulus of the eigenvalues that a run started from, and the median time constant in steps.

    Raises:
        UserError: a mixer that defines no eigenvalues.
    """
    config = ConfigDict(completed(run.config))
    config.task.data, config.task.examples = "synthetic", 1000
    _, summary = spectrum([subject.initialized(config, sequences=1, length=LENGTH)])
    return {"modulus": float(np.median(summary["modulus_50"])), "steps": float(np.median(summary["steps_50"]))}


def _accuracies(found: Iterable[tuple[dict[str, Any], RunRecord]]) -> pd.DataFrame:
    """One row for all runs of a description, in the order of the first run of each."""
    groups: dict[tuple, list[RunRecord]] = {}
    for description, run in found:
        groups.setdefault(tuple(description.items()), []).append(run)
    rows = []
    for description, runs in groups.items():
        mean, half_width = aggregate.mean_interval([aggregate.accuracy(run) for run in runs])
        scores = {"accuracy": mean, "half_width": half_width, "seeds": len(runs), "chance": 100 / runs[0].task.classes}
        scores |= {"records": " ".join(store.home(run, "").as_posix() for run in runs)}
        rows.append(dict(description) | scores)
    return pd.DataFrame(rows)
