"""Runs many cells of the table one after another: skips what is finished, goes on after a failure."""

import json
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, config_hash, store
from ssm_bench.sweep.budget import check_budget, planned_share
from ssm_bench.sweep.progress import Progress
from ssm_bench.sweep.recipe import resolve
from ssm_bench.train.loop import Outcome
from ssm_bench.train.run import FINISHED, make_record, open_data, run
from ssm_bench.train.stop import Stop


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model on one task with one seed."""

    model: str
    task: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What all cells of a sweep share; the fields are the arguments of `resolve`."""

    preset: str
    protocol: str = "strict"
    data: str = "auto"
    share: float = 0.0
    overrides: tuple[str, ...] = ()

    def config(self, cell: Cell) -> ConfigDict:
        """The configuration of a cell; raises as `resolve`."""
        return resolve(cell.model, cell.task, seed=cell.seed, **vars(self))


def cells(models: Iterable[str], tasks: Iterable[str], seeds: Iterable[int]) -> list[Cell]:
    """Every combination, task by task, so that a data set is opened once; the first seed of all comes first."""
    models, tasks = list(models), list(tasks)
    return [Cell(model=m, task=t, seed=s) for s in seeds for t in tasks for m in models]


# Cells come task by task, so one data set at a time is enough.
@lru_cache(maxsize=1)
def _open(task: str, settings: str, protocol: str) -> tuple[dict, Dataset]:
    config, dataset = open_data(ConfigDict({"task": json.loads(settings), "protocol": protocol}), progress=True)
    return config.task.to_dict(), dataset


def opened(config: ConfigDict) -> tuple[ConfigDict, Dataset]:
    """`open_data`, remembering the last data set."""
    task, dataset = _open(config.task.name, config.task.to_json(), config.protocol)
    config = config.copy_and_resolve_references()
    config.task = ConfigDict(task)
    return config, dataset


def earlier(config: ConfigDict, dataset: Dataset, results: Path) -> RunRecord | None:
    """The record that a finished run of this very configuration on these very data left, if it did."""
    found = store.find(
        results, config.preset, config.task.name, config.model.name, config_hash(config.to_dict()), config.seed
    )
    same = found is not None and found.status in FINISHED and found.data.checksum == dataset.card["checksum"]
    return found if same else None


def sweep(
    wanted: Sequence[Cell],
    choices: Choices,
    *,
    results: Path,
    checkpoints: Path,
    stop: Stop,
    rerun: bool = False,
    budget: float | None = None,
) -> list[tuple[Cell, str]]:
    """Runs the cells that have no finished record; a failing cell leaves a record and the next one goes on.

    Args:
        wanted: cells, in the order to run them.
        choices: what they share.
        results: the folder of all results.
        checkpoints: the folder of all checkpoints.
        stop: deadline and signals.
        rerun: run what is finished, too.
        budget: seconds to spread evenly over the cells; each gets the share of its schedule that fits.

    Returns:
        Every cell that was reached, with its status; "skipped" for one that was finished before.

    Raises:
        UserError: a mistake that would spoil every cell, found before any of them starts.
    """
    configs = [choices.config(cell) for cell in wanted]
    if budget is not None:
        for config in configs:
            check_budget(config)
    reached: list[tuple[Cell, str]] = []
    for number, (cell, config) in enumerate(zip(wanted, configs, strict=True), 1):
        if stop.reason():
            break
        progress = Progress(f"[{number}/{len(wanted)}] {cell.model} {cell.task} seed {cell.seed}")
        dataset = None
        try:
            config, dataset = opened(config)
            if budget is not None:
                share = planned_share(config, dataset, budget / len(wanted), checkpoints)
                config, dataset = opened(replace(choices, share=share).config(cell))
                progress.label += f" ({100 * share:g} % of the schedule)"
            if not rerun and (record := earlier(config, dataset, results)):
                progress.end(f"skipped, finished before: {summary(record)}")
                reached.append((cell, "skipped"))
                continue
            folders = {"results": results, "checkpoints": checkpoints}
            record = run(config, dataset, **folders, stop=stop, tell=progress, afresh=rerun)
        except UserError as error:
            progress.end(f"error: {error}")
            reached.append((cell, "error"))
            continue
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            if dataset is None:
                raise
            outcome = Outcome(status="error", message=f"{type(error).__name__}: {error}".splitlines()[0][:300])
            record = make_record(config, dataset, outcome, parameters=0, state_size=None)
            store.write(record, results)
        progress.end(summary(record))
        reached.append((cell, record.status))
    return reached


def summary(record: RunRecord) -> str:
    """A record in a few words."""
    if record.result is None:
        return f"{record.status}: {record.message}"
    accuracy = f"{100 * record.result.test_accuracy:.2f} %"
    return f"{record.status}, test {accuracy} at step {record.result.best_step}, data: {record.data.identity}"
