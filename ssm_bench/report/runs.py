"""The list of all runs, one line each, including those that no table shows."""

from collections.abc import Sequence

import pandas as pd

from ssm_bench.config import leaves
from ssm_bench.record import RunRecord, store
from ssm_bench.report import layout
from ssm_bench.report.aggregate import share
from ssm_bench.report.render import MISSING, WRITTEN_BY, md
from ssm_bench.report.table import Table, percent

HEADS = (
    *("Model", "Task", "Preset", "Protocol", "Share", "Seed", "Status", "Test", "Validation", "In a table"),
    *("Settings that differ", "Data", "Device", "Revision", "Record"),
)

#: Maximum number of listed settings; with more differences, it is another recipe.
CHANGES = 6

#: Settings that have their own column or follow from one.
SAID = {"seed", "preset", "train.steps", "train.chunk", "train.evaluations", "train.eval_batch_size"}


def files(tables: Sequence[Table]) -> dict[str, str]:
    """File name -> content of the lists of all runs."""
    return {"runs.csv": csv(tables), "runs.md": markdown(tables)}


def csv(tables: Sequence[Table]) -> str:
    """One line per run; numbers as in the records, accuracies as fractions."""
    lines = []
    for run, shown in _runs(tables):
        fields = {key: value for key, value in run.to_dict().items() if key not in ("config", "curve")}
        fields["model"].pop("bibtex")
        fields["data"].pop("label_histogram")
        fields["result"] = fields["result"] or {"test_accuracy": None, "validation_accuracy": None, "best_step": None}
        fields["result"].pop("test_loss", None)
        fields["model"].pop("published")
        fields["data"]["notes"] = "; ".join(run.data.notes)
        lines.append({"in_table": run in shown} | fields | {"file": store.home(run, "results").as_posix()})
    # The dtype is object, because a missing value would convert a column of integers to floats.
    return pd.DataFrame([leaves(line, "_") for line in lines], dtype=object).to_csv(index=False, lineterminator="\n")


def markdown(tables: Sequence[Table]) -> str:
    """A page with one line per run."""
    lines = [
        f"<!-- {WRITTEN_BY} -->",
        "# Runs",
        "",
        "Every record under `results/runs`. Accuracies are in percent. Share is the share of the published schedule. "
        "Settings lists the differences from the run that the table shows in the same cell.",
        "",
        f"| {' | '.join(HEADS)} |",
        f"| {' | '.join([':---'] * len(HEADS))} |",
    ]
    for run, shown in _runs(tables):
        same = [other for other in shown if (other.model.name, other.task.name) == (run.model.name, run.task.name)]
        changed = changes(same[0].config, run.config) if same and run not in shown else []
        result = run.result
        validation = None if result is None else result.validation_accuracy
        texts = [
            md(run.model.title),
            md(run.task.title),
            run.preset,
            run.protocol,
            percent(share([run])),
            str(run.seed),
            run.status,
            MISSING if result is None else f"{100 * result.test_accuracy:.2f}",
            MISSING if validation is None else f"{100 * validation:.2f}",
            "yes" if run in shown else "no",
            md(", ".join(changed)),
            md(f"{run.data.identity}, {run.data.kind}, {run.data.checksum[:8]}"),
            md(f"{run.device.count} x {run.device.kind}"),
            f"{run.revision.commit[:7]}{' (changed)' if run.revision.dirty else ''}",
            f"[record]({store.home(run, '..').as_posix()})",
        ]
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join([*lines, ""])


def changes(shown: dict, other: dict) -> list[str]:
    """Settings that differ from those of the shown run, such as "optimizer.lr 0.001"; none if there are too many."""
    before, after = leaves(shown), leaves(other)
    names = [name for name in sorted({*before, *after} - SAID) if before.get(name) != after.get(name)]
    return [f"{name} {after.get(name, 'unset')}" for name in names] if len(names) <= CHANGES else []


def _runs(tables: Sequence[Table]) -> list[tuple[RunRecord, list[RunRecord]]]:
    """All runs in the order of models and tasks, each with the runs that its table shows."""
    found = []
    for table in tables:
        shown = [run for entry in table.entries.values() if entry.cell for run in entry.cell.runs]
        found += [(run, shown) for run in table.records]
    tasks = list(layout.TASKS)

    def order(pair: tuple[RunRecord, list[RunRecord]]) -> tuple:
        run, _ = pair
        place = tasks.index(run.task.name) if run.task.name in tasks else len(tasks)
        return run.model.name, place, run.task.name, run.preset, run.protocol, run.config_hash, run.seed, run.created

    return sorted(found, key=order)
