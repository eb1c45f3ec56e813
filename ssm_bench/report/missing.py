"""The missing cells of the table, without a finished run on official, rebuilt or generated data."""

from collections.abc import Iterable

from ssm_bench.config import experiment_names, has_recipe
from ssm_bench.record import RunRecord
from ssm_bench.report import layout
from ssm_bench.report.aggregate import share
from ssm_bench.report.table import percent


def missing(records: Iterable[RunRecord], preset: str | None, protocol: str) -> str:
    """One line per model with its missing cells among the six tasks, and a line with their number.

    A missing cell with records shows the status of the latest record and the share of a partial run.

    Args:
        records: records of runs.
        preset: only runs of this preset count; None: those of paper and budget.
        protocol: only runs of this protocol count.
    """
    presets = (preset,) if preset else layout.COMBINED
    found: dict[tuple[str, str], list[RunRecord]] = {}
    for run in records:
        if run.preset in presets and run.protocol == protocol and run.data.kind != "synthetic":
            found.setdefault((run.model.name, run.task.name), []).append(run)
    cells = [(m, t) for m in experiment_names() for t in layout.TASKS if has_recipe(m, t)]
    holes = [cell for cell in cells if all(run.status != "ok" for run in found.get(cell, []))]
    width = max((len(model) for model, _ in holes), default=0)
    lines = []
    for model in dict.fromkeys(model for model, _ in holes):
        texts = [f"{task}{_state(found.get((model, task), []))}" for of, task in holes if of == model]
        lines.append(f"{model:{width}}  {', '.join(texts)}")
    count = f"{len(holes)} of {len(cells)} cells have no finished run ({' or '.join(presets)}, protocol {protocol})"
    return "\n".join([*lines, count])


def _state(runs: list[RunRecord]) -> str:
    """The state of the runs of a missing cell, in parentheses; empty if there are none."""
    if not runs:
        return ""
    last = max(runs, key=lambda run: run.created)
    return f" ({last.status} at {percent(share([last]))})" if last.status == "partial" else f" ({last.status})"
