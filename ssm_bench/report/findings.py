"""The tables of docs/findings.md and the main result in one paragraph, computed from the comparison table."""

import csv
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ssm_bench.report import aggregate, layout, published
from ssm_bench.report.render import md, share_text
from ssm_bench.report.speed import NOTHING, table
from ssm_bench.report.table import RANDOM, Entry, Table

#: Smallest number of seeds for which an interval is meaningful.
SEVERAL_SEEDS = 3
#: A whole schedule, as a share: steps are rounded to chunks.
WHOLE = 0.995


def blocks(shown: Table, parametrizations: Mapping[str, str]) -> dict[str, str]:
    """Name -> Markdown of every table of the page.

    Args:
        shown: the comparison table.
        parametrizations: title of a model -> LTI, LTV or nonlinear.
    """
    makers: dict[str, Callable[[], str]] = {
        "findings-coverage": lambda: _coverage(shown),
        "findings-kinds": lambda: _kinds(shown, parametrizations),
        "findings-averages": lambda: _averages(shown),
        "findings-published": lambda: _published(shown),
        "findings-cost": lambda: _cost(shown),
    }
    return {name: make() or NOTHING for name, make in makers.items()}


def headline(shown: Table, models: int = 0) -> str:
    """The best cell of each task and the number of filled cells, as plain text; empty for a table without results.

    Args:
        shown: the comparison table.
        models: number of models in the suite; 0: unknown.
    """
    best, filled, whole, count = [], 0, 0, len(layout.TASKS)
    for task in layout.TASKS:
        if entries := _finished(shown, task):
            best.append(f"{shown.tasks[task]} {_best(shown, entries)}")
            filled += len(entries)
            whole += sum(map(_whole, entries))
    if not best:
        return ""
    cells = f"{filled} of {models * count} cells ({models} models, {count} tasks)" if models else f"{filled} cells"
    return (
        "Best test accuracy in percent over all models, with the model and the share of the published schedule that "
        f"was run: {', '.join(best)}. {cells} have a result, {whole} of them with the full schedule."
    )


def _best(shown: Table, entries: Iterable[Entry]) -> str:
    first = max(entries, key=lambda entry: entry.accuracy or 0.0)
    return f"{first.accuracy:.2f} ({shown.rows[first.model]}, {share_text(first.share)})"


def parametrizations(root: Path | str) -> dict[str, str]:
    """Title -> parametrization of the models in results/tables/models.csv; empty where there is no such file."""
    path = Path(root) / "tables" / "models.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {line["title"]: line["parametrization"] for line in csv.DictReader(file)}


def _finished(shown: Table, task: str) -> list[Entry]:
    """The entries of a column that have an accuracy."""
    return [entry for entry in shown.column(task) if entry.cell is not None and entry.accuracy is not None]


def _whole(entry: Entry) -> bool:
    """Whether the whole published schedule was run."""
    return (entry.share or 0.0) >= WHOLE


def _coverage(shown: Table) -> str:
    """The number of filled cells of each column, by share of the schedule."""

    def rows() -> Iterator[list[str]]:
        for task, title in shown.tasks.items():
            entries = _finished(shown, task)
            kinds = sorted({entry.cell.runs[0].data.kind for entry in entries if entry.cell})
            yield [
                title,
                ", ".join(kinds) or "–",
                str(len(entries)),
                str(sum(not entry.young for entry in entries)),
                str(sum(map(_whole, entries))),
                str(sum(entry.seeds_finished >= SEVERAL_SEEDS for entry in entries)),
            ]

    counts = list(rows())
    sums = [str(sum(int(row[place]) for row in counts)) for place in range(2, 6)]
    heads = ["Task", "Data", "Cells", "a tenth or more", "whole schedule", f"{SEVERAL_SEEDS} seeds or more"]
    return table(heads, [*counts, ["All", "", *sums]])


def _kinds(shown: Table, parametrizations: Mapping[str, str]) -> str:
    """The best cell of each parametrization on each task."""
    kinds = sorted(set(parametrizations.values()))

    def best(task: str, kind: str) -> str:
        among = [entry for entry in _finished(shown, task) if parametrizations.get(shown.rows[entry.model]) == kind]
        if not among:
            return "–"
        return md(_best(shown, among))

    rows = [[title, *(best(task, kind) for kind in kinds)] for task, title in shown.tasks.items()]
    return table(["Task", *kinds], rows) if kinds else ""


def _averages(shown: Table) -> str:
    """Rows of the overview's Table II: our means and published means over the tasks that were run."""

    def rows() -> Iterator[list[str]]:
        models = {title: model for model, title in shown.rows.items()}
        for title, row in layout.TABLE_TWO.items():
            entries = [shown.entries[models[title], task] for task in layout.TASKS if title in models]
            ours = {entry.task: entry.accuracy for entry in entries if entry.accuracy is not None}
            theirs = {
                task: 50.0 if value.failed else value.accuracy
                for task in layout.TASKS
                if (value := published.lookup(row, layout.TABLE_TWO_SOURCE, task))
            }
            least = min((entry.share or 0.0 for entry in entries if entry.task in ours), default=None)
            yield [
                md(title),
                f"{len(ours)} of {len(layout.TASKS)}",
                share_text(least) if ours else "–",
                _mean(ours.values()),
                _mean(theirs.get(task) for task in ours),
                _mean(theirs.values()),
            ]

    heads = ["Model", "Tasks run", "least share", "mean, ours", "mean, published, same tasks", "mean, published, all"]
    return table(heads, rows())


def _published(shown: Table) -> str:
    """Differences to the published values of whole schedules, by the origin of the data."""

    def rows() -> Iterator[list[str]]:
        for task, title in shown.tasks.items():
            entries = [entry for entry in _finished(shown, task) if _whole(entry)]
            for kind in sorted({entry.cell.runs[0].data.kind for entry in entries if entry.cell}):
                differences = [
                    entry.difference
                    for entry in entries
                    if entry.cell and entry.cell.runs[0].data.kind == kind and entry.difference is not None
                ]
                if differences:
                    median, low, high = statistics.median(differences), min(differences), max(differences)
                    yield [title, kind, str(len(differences)), f"{median:+.2f}", f"{low:+.2f}", f"{high:+.2f}"]

    found = list(rows())
    return table(["Task", "Data", "Cells", "median difference", "lowest", "highest"], found) if found else ""


def _cost(shown: Table) -> str:
    """Training time of each row: as run, and scaled to the whole schedules of the tasks that were run."""

    def rows() -> Iterator[list[str]]:
        for model, title in shown.rows.items():
            runs = [
                (run, aggregate.share([run]))
                for entry in (shown.entries[model, task] for task in shown.tasks if model != RANDOM)
                if entry.cell
                for run in entry.cell.finished[:1]
            ]
            if not runs:
                continue
            seconds = sum(run.cost.seconds_train for run, _ in runs)
            whole = sum(run.cost.seconds_train / share for run, share in runs if share)
            shared = sum(run.device.shared for run, _ in runs)
            yield [
                md(title),
                str(len(runs)),
                str(shared),
                f"{seconds / 3600:.2f}",
                f"{whole / 3600:.1f}",
                ", ".join(sorted({run.device.kind for run, _ in runs})),
            ]

    heads = ["Model", "Cells", "on a shared device", "hours, as run", "hours, whole schedules", "Devices"]
    return table(heads, rows())


def _mean(values: Iterable[float | None]) -> str:
    """The mean of all values with two decimals; a dash if a value is missing or there are none."""
    known = list(values)
    return f"{statistics.fmean(v for v in known if v is not None):.2f}" if known and None not in known else "–"
