"""Aggregates runs to cells: the runs of a cell, their mean and interval, and the runs that it does not show."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import stats

from ssm_bench.record import RunRecord
from ssm_bench.record.schema import FAILURES
from ssm_bench.report import layout

CONFIDENCE = 0.95


class DataIdentity(NamedTuple):
    """The identity of a data set; `checksum` distinguishes data sets with the same name."""

    identity: str
    kind: str
    notes: tuple[str, ...]
    checksum: str


def data_identity(run: RunRecord) -> DataIdentity:
    """The data of a run."""
    return DataIdentity(run.data.identity, run.data.kind, tuple(run.data.notes), run.data.checksum)


def precision(run: RunRecord) -> str:
    """The type of the activations of a run; float32 for runs from before the setting existed."""
    return _setting(run, "model", "precision", "float32")


def changed(run: RunRecord) -> str:
    """The settings that the user changed, "name=value, ..."; empty for runs from before this was recorded."""
    return _setting(run, "report", "changed", "")


def _setting(run: RunRecord, section: str, name: str, default: str) -> str:
    """The value of a setting, or a default for runs from before it existed."""
    settings = run.config.get(section)
    return settings.get(name, default) if isinstance(settings, dict) else default


def group_of(run: RunRecord) -> tuple[str, str, DataIdentity]:
    """The group of a run; runs that differ only in their seed are in the same group."""
    return run.preset, run.config_hash, data_identity(run)


@dataclass(frozen=True)
class Cell:
    """One model on one task.

    Attributes:
        runs: the runs that the cell shows, one per seed, with the same config and data set.
        others: runs with other configs or other data, which notes of the table may mention.
    """

    runs: tuple[RunRecord, ...]
    others: tuple[RunRecord, ...] = ()

    @property
    def finished(self) -> tuple[RunRecord, ...]:
        """The runs that have an accuracy."""
        return _with_status(self.runs, "ok")

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The runs that ended without an accuracy."""
        return _with_status(self.runs, *FAILURES)

    @property
    def unfinished(self) -> tuple[RunRecord, ...]:
        """The interrupted runs."""
        return _with_status(self.runs, "partial")

    @property
    def status(self) -> str:
        """ok if any seed has an accuracy, else the failures, joined by "/", else partial."""
        if self.finished:
            return "ok"
        return "/".join(sorted({run.status for run in self.failed})) or "partial"

    @property
    def complete(self) -> bool:
        """Whether there is an accuracy and no seed failed."""
        return bool(self.finished) and not self.failed

    @property
    def accuracy(self) -> tuple[float, float | None] | None:
        """Mean over the finished seeds and its 95 % half-width (None for one seed), both in percent."""
        return mean_interval([accuracy(run) for run in self.finished]) if self.finished else None

    @property
    def accuracy_failures_as_chance(self) -> float | None:
        """Mean in percent in which a failed seed counts as chance; None if no seed has finished or failed."""
        scores = [accuracy(run) for run in self.finished] + [100 / run.task.classes for run in self.failed]
        return statistics.fmean(scores) if scores else None

    @property
    def device_seconds(self) -> float | None:
        """Training time multiplied by the number of devices, as a mean over finished seeds; None without any."""
        costs = [run.cost.seconds_train * run.device.count for run in self.finished]
        return sum(costs) / len(costs) if costs else None

    @property
    def alone(self) -> bool:
        """Whether its training time measures speed, because no run shared its device."""
        return all(run.alone for run in self.finished)

    @property
    def young(self) -> bool:
        """Whether its runs trained for less than a tenth of the published schedule."""
        return bool(self.finished) and self.share is not None and self.share < layout.LEAST_SHARE

    @property
    def share(self) -> float | None:
        """Steps done / published steps, the minimum over the seeds; None if no schedule is published."""
        return share(self.finished or self.runs)


def accuracy(run: RunRecord) -> float:
    """Test accuracy of a finished run in percent."""
    assert run.result is not None
    return 100 * run.result.test_accuracy


def learning_curve(run: RunRecord) -> list[tuple[float, float]]:
    """Share of the published schedule, else of the planned steps, and validation accuracy, both in percent."""
    steps = run.steps.published or run.steps.planned
    return [
        (100 * point.step / steps, 100 * point.validation_accuracy)
        for point in run.curve
        if point.validation_accuracy is not None
    ]


def share(runs: Sequence[RunRecord]) -> float | None:
    """The smallest share of the published schedule among some runs; None if a run has no published schedule."""
    shares = [run.steps.done / run.steps.published for run in runs if run.steps.published]
    return min(shares) if shares and len(shares) == len(runs) else None


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and half-width of its 95 % interval by Student's t over seeds; the half-width of a single value is None."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, df=len(values) - 1)
    return mean, float(quantile * statistics.stdev(values) / len(values) ** 0.5)


def cells(records: Iterable[RunRecord]) -> dict[tuple[str, str], Cell]:
    """(model, task) -> its cell.

    Runs with the same config, preset and data checksum form a group (`group_of`). The cell shows the first group in
    this order: groups with a finished run first, then those without changed settings, then the largest share of the
    published schedule (in whole percent), then the most finished seeds, then the most recent. The runs of the other
    groups are `others`.

    Args:
        records: the runs of one table.
    """
    by_cell: dict[tuple[str, str], dict[tuple[str, str, DataIdentity], list[RunRecord]]] = {}
    for record in sorted(records, key=lambda r: (r.seed, r.model.name, r.task.name, r.config_hash)):
        place = record.model.name, record.task.name
        by_cell.setdefault(place, {}).setdefault(group_of(record), []).append(record)
    chosen = {}
    for place, groups in by_cell.items():
        first, *rest = sorted(groups.values(), key=_preference, reverse=True)
        chosen[place] = Cell(tuple(first), tuple(run for group in rest for run in group))
    return chosen


def _preference(group: list[RunRecord]) -> tuple:
    finished = _with_status(group, "ok")
    # Schedules are rounded to chunks of steps, so differences of less than a percent are ignored.
    part = round(share(finished or group) or 0.0, 2)
    latest = max(run.created for run in group)
    return bool(finished), not changed(group[0]), part, len(finished), latest, group[0].config_hash


def average(row: Mapping[str, Cell]) -> float | None:
    """Mean accuracy over the six tasks in percent; None unless all six are complete.

    Args:
        row: task -> cell, of one model.
    """
    if not all(task in row and row[task].complete for task in layout.TASKS):
        return None
    return statistics.fmean(row[task].accuracy[0] for task in layout.TASKS)  # type: ignore[index]


def average_failures_as_chance(row: Mapping[str, Cell]) -> float | None:
    """Mean accuracy over the six tasks in percent, counting failed seeds as chance; None if a task was not run.

    The averages of arXiv 2403.16899, Table II, and of the papers that it quotes also count a failure as 50.
    """
    scores = [row[task].accuracy_failures_as_chance if task in row else None for task in layout.TASKS]
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if len(known) == len(scores) else None


def majority_share(run: RunRecord) -> float | None:
    """The accuracy of always answering the most common test label, in percent; None without a histogram."""
    histogram = run.data.label_histogram.get("test")
    return 100 * max(histogram) / sum(histogram) if histogram and sum(histogram) else None


def at_chance(run: RunRecord) -> bool:
    """Whether a finished run is not significantly above the most common test label: less than 2 standard errors."""
    majority = majority_share(run)
    if run.result is None or majority is None:
        return False
    error = math.sqrt(majority * (100 - majority) / sum(run.data.label_histogram["test"]))
    return 100 * run.result.test_accuracy <= majority + 2 * error


def status_counts(runs: Iterable[RunRecord]) -> str:
    """Statuses with their counts, such as "2 diverged, 1 oom"."""
    return ", ".join(f"{count} {status}" for status, count in sorted(Counter(run.status for run in runs).items()))


def _with_status(runs: Iterable[RunRecord], *statuses: str) -> tuple[RunRecord, ...]:
    return tuple(run for run in runs if run.status in statuses)
