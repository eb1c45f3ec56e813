"""The generated tables of docs/cluster.md: expected time of the whole table with published schedules on many GPUs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssm_bench.config import experiment_names, has_recipe
from ssm_bench.data.dataset import find
from ssm_bench.record import store
from ssm_bench.report.layout import TASKS
from ssm_bench.report.speed import NOTHING, table
from ssm_bench.sweep.forecast import Device, Forecast
from ssm_bench.sweep.progress import duration
from ssm_bench.sweep.recipe import resolve
from ssm_bench.sweep.schedule import schedule

#: Numbers of GPUs that the page plans for.
GPUS = (1, 8, 64, 512)
#: The task whose sequences of 16,384 positions make the longest runs.
LONGEST_TASK = "pathx"


@dataclass(frozen=True)
class Cost:
    """The expected time of a cell on one GPU.

    Attributes:
        model: the model of the cell.
        task: the task of the cell.
        seconds: time of all steps; None: this model was never trained on a GPU.
        scaled: whether the time was measured on another task.
    """

    model: str
    task: str
    seconds: float | None
    scaled: bool


def blocks(results: Path | str) -> dict[str, str]:
    """Name -> Markdown of every table of the page.

    Raises:
        UserError: an experiment file that is not valid.
    """
    forecast = _forecast(Path(results))
    found = costs(forecast)
    return {
        "scaling-device": f"One {forecast.here.kind} per cell." if forecast.here.kind else NOTHING,
        "scaling-tasks": _by_task(found),
        "scaling-gpus": _by_gpus(found),
    }


def costs(forecast: Forecast) -> list[Cost]:
    """The expected times of all models on the tasks of the comparison table, one seed each, at the whole schedule."""
    found = []
    for task in TASKS:
        for model in experiment_names():
            if not has_recipe(model, task):
                continue
            config = resolve(model, task, preset="paper")
            rate = forecast.rate(config)
            seconds = (
                rate.compiling + rate.step * config.train.steps if rate and rate.device.platform == "gpu" else None
            )
            found.append(Cost(model, task, seconds, bool(rate and rate.task)))
    return found


def _forecast(results: Path) -> Forecast:
    """The records, with the kind of GPU of most runs as the device to plan for."""
    bad: list[str] = []
    runs = store.read_all(results, skip=bad.append)
    kinds = Counter(run.device.kind for run in runs if run.device.platform == "gpu")
    device = Device("gpu", kinds.most_common(1)[0][0]) if kinds else Device("", "")
    return Forecast(runs, store.read_all_speed(results, skip=bad.append), results / "none", device)


def _by_task(found: Sequence[Cost]) -> str:
    """The cost of each column of the table."""
    rows = []
    for task in dict.fromkeys(cost.task for cost in found):
        cells = [cost for cost in found if cost.task == task]
        known = [cost for cost in cells if cost.seconds is not None]
        longest = max(known, key=lambda cost: cost.seconds or 0.0, default=None)
        rows.append(
            [
                find(task).spec.title,
                str(sum(not cost.scaled for cost in known)),
                str(sum(cost.scaled for cost in known)),
                str(len(cells) - len(known)),
                duration(sum(cost.seconds or 0.0 for cost in known)),
                f"{duration(longest.seconds or 0.0)} ({longest.model})" if longest else "–",
            ]
        )
    return table(["Task", "Cells measured", "scaled", "unknown", "Time on one GPU", "Longest cell"], rows)


def _by_gpus(found: Sequence[Cost]) -> str:
    """The schedule of the known cells, longest first, without and with the longest task."""
    rows = []
    for name, chosen in (
        (f"without {find(LONGEST_TASK).spec.title}", [cost for cost in found if cost.task != LONGEST_TASK]),
        ("all tasks", found),
    ):
        seconds = sorted((cost.seconds for cost in chosen if cost.seconds is not None), reverse=True)
        for gpus in GPUS if seconds else ():
            plan = schedule(seconds, gpus)
            rows.append(
                [
                    f"{name}, {len(seconds)} cells",
                    str(gpus),
                    duration(plan.makespan),
                    f"{gpus * plan.makespan / 3600:,.0f}",
                    f"{100 * plan.busy:.0f} %",
                    "the longest cell" if plan.longest >= plan.makespan else "the number of GPUs",
                ]
            )
    return table(["Cells", "GPUs", "Time", "GPU hours", "Busy", "Limited by"], rows)
