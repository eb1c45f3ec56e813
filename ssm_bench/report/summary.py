"""The table of speed in the README: a training step of ours, and how many times faster than the authors' code."""

from collections.abc import Iterable

from ssm_bench.record import SpeedRecord
from ssm_bench.report import speed
from ssm_bench.report.layout import TASKS
from ssm_bench.report.render import md


def summary(records: Iterable[SpeedRecord], folder: str) -> str:
    """A Markdown table of models and tasks for each kind of device, of the steps that have a peer.

    Args:
        records: speed records.
        folder: where the page finds them.
    """
    records = sorted(records, key=lambda record: record.name)
    pairs = [(ours, peers[0]) for ours in speed.own_steps(records) if (peers := speed.peers(ours, records))]
    kinds = sorted({ours.device.kind for ours, _ in pairs})
    return "\n\n".join(_table(kind, pairs, folder) for kind in kinds) or speed.NOTHING


def _table(kind: str, pairs: list[tuple[SpeedRecord, SpeedRecord]], folder: str) -> str:
    """Milliseconds and times faster on one kind of device; what is not of the same precision is marked."""
    cells, notes = {}, []
    for ours, theirs in pairs:
        if ours.device.kind == kind and ours.model and ours.task:
            milliseconds = speed.link(ours, speed.short(ours.measurements["step_ms"]), folder)
            times = speed.ratio(theirs.measurements["step_ms"], ours.measurements["step_ms"])
            mark = "" if speed.activations(ours) == speed.activations(theirs) else "†"
            notes += [f"†: {speed.activations(ours)}, the authors' {speed.activations(theirs)}."] if mark else []
            cells[ours.model, ours.task] = f"{milliseconds} ms, {times}×{mark}"
    rows = [
        [md(model), *(cells.get((model, task), "–") for task in TASKS)]
        for model in sorted({model for model, _ in cells})
    ]
    return "\n\n".join([speed.table([md(kind), *TASKS.values()], rows), *dict.fromkeys(notes)])
