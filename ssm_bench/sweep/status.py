"""The state of a sweep, from records, locks and SLURM's queue; no model is run and no data set is opened."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssm_bench.sweep.cells import holder
from ssm_bench.sweep.forecast import Outlook
from ssm_bench.sweep.plan import Group

#: The state of a cell that no process trains, by the status of its record; for any other status, it is "failed".
STATES = {"ok": "done", "partial": "interrupted", "missing": "missing"}


def report(planned: Sequence[tuple[Group, Outlook]], checkpoints: Path, queue: Mapping[str, int] | None = None) -> str:
    """A plain table of the cells and their states, the numbers of each, and the jobs of this sweep.

    Args:
        planned: as `Forecast.planned` returns them.
        checkpoints: the folder of all checkpoints, whose locks show which cells are under way.
        queue: number of SLURM tasks by state; None: there is no SLURM.
    """
    rows = [("group", "model", "task", "seeds", "state", "done", "details")]
    counts: Counter[str] = Counter()
    for group, one in planned:
        process = holder(one.cell, group.choices, checkpoints)
        state = "under way" if process else STATES.get(one.status, "failed")
        counts[state] += 1
        details = f"process {process}" if process else one.status if state == "failed" else ""
        seeds = ",".join(map(str, one.cell.seeds))
        done = "" if state == "failed" else f"{100 * one.done:.0f} %"
        rows.append((group.group, one.cell.model, one.cell.task, seeds, state, done, details))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    order = "done", "under way", "interrupted", "failed", "missing"
    lines.append(f"{len(planned)} cells: {', '.join(f'{counts[state]} {state}' for state in order)}")
    if queue is not None:
        tasks = ", ".join(f"{n} {state.lower()}" for state, n in sorted(queue.items())) or "none"
        lines.append(f"SLURM tasks that write to this folder of results: {tasks}")
    return "\n".join(lines)
