"""The summary of training steps in docs/performance.md: our times and the speedup over the authors' code."""

from collections.abc import Iterable

from ssm_bench.record import SpeedRecord
from ssm_bench.report import speed
from ssm_bench.report.layout import TASKS
from ssm_bench.report.render import md


def summary(records: Iterable[SpeedRecord], folder: str) -> str:
    """A Markdown table of models and tasks for each kind of device, with the steps that have a peer.

    Args:
        records: speed records.
        folder: the folder of the records, relative to the page.
    """
    records = sorted(records, key=lambda record: record.name)
    pairs = [(ours, peers[0]) for ours in speed.own_steps(records) if (peers := speed.peers(ours, records))]
    kinds = sorted({ours.device.kind for ours, _ in pairs})
    return "\n\n".join(_table(kind, pairs, folder) for kind in kinds) or speed.NOTHING


#: Precision of the authors' code -> mark of the speedup, if our code used another precision.
MARKS = {"bf16": "†", "float32": "‡"}


def _table(kind: str, pairs: list[tuple[SpeedRecord, SpeedRecord]], folder: str) -> str:
    """Milliseconds and speedups on one kind of device, with a row for each model and precision of our code."""
    cells, notes = {}, []
    for ours, theirs in pairs:
        if ours.device.kind == kind and ours.model and ours.task:
            precision, other = speed.activations(ours), speed.activations(theirs)
            milliseconds = speed.link(ours, speed.short(ours.value("step_ms")), folder)
            times = speed.ratio(speed.fastest_step(theirs), ours.value("step_ms"))
            mark = "" if precision == other else MARKS[other]
            notes += [f"{mark}: the authors' code in {other}."] if mark else []
            cells[f"{ours.model}, {precision}", ours.task] = f"{milliseconds} ms, {times}×{mark}"
    rows = [
        [md(model), *(cells.get((model, task), "–") for task in TASKS)]
        for model in sorted({model for model, _ in cells})
    ]
    return "\n\n".join([speed.table([md(kind), *TASKS.values()], rows), *sorted(set(notes))])
