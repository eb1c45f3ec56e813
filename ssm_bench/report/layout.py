"""The order of rows and columns and the titles of presets in all tables and figures."""

from collections.abc import Iterable
from pathlib import Path

from ssm_bench.data.task import LRA
from ssm_bench.record import RunRecord, store

#: The six columns of the Long Range Arena; other tasks of its suite follow, ordered by name.
TASKS = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "pathx": "Path-X",
}

#: The rows of arXiv 2403.16899, Table II, and of their tuned recipes -> the row of the published value, if any.
TABLE_TWO = {
    "Transformer": "Transformer",
    "S4": "S4",
    "S4D": "S4D",
    "S5": "S5",
    "LRU": "LRU",
    "S6": "S6 (Mamba)",
    "S6 (tuned)": "",
    "RG-LRU": "RG-LRU",
    "RG-LRU (tuned)": "",
}

#: The source of these rows in `published.csv`.
TABLE_TWO_SOURCE = "arXiv 2403.16899 Table II"

#: The families of these rows; other models follow in alphabetical order.
MODELS = tuple(dict.fromkeys(title.split(" (")[0] for title in TABLE_TWO))

#: The table of all runs of published recipes, with any share of the schedule.
TABLE = "table"

#: The presets whose runs it shows. Every other preset has a separate table.
COMBINED = ("paper", "budget")

#: The presets of toy size, whose numbers are not compared with published ones.
TOYS = ("quick", "pretrained-quick")

#: The presets whose runs may change any setting of a recipe.
FREE = ("custom", "pretrained")

#: A cell with a smaller share of its published schedule is gray and has no rank.
LEAST_SHARE = 0.1

#: Titles of presets; for other presets, the title is the name.
PRESET_TITLES = {
    "quick": "QUICK: toy size, not comparable with published numbers",
    "budget": "BUDGET: a stated share of the published schedule",
    "paper": "PAPER: the published schedules",
    "pretrained": "PRETRAINED: weights from pretraining on the inputs of the task, then the labels",
    "pretrained-quick": "PRETRAINED, QUICK: toy size, weights from pretraining on the inputs of the task",
    TABLE: "every cell says its share of the published schedule",
}


def preset_title(preset: str) -> str:
    """The title of a preset in tables."""
    return PRESET_TITLES.get(preset, preset.upper())


def table_of(preset: str, suite: str = LRA) -> str:
    """The table that shows the runs of a preset on tasks of a suite; each suite has separate tables."""
    if suite != LRA:
        return f"{suite}-{preset}"
    return TABLE if preset in COMBINED else preset


def table_with(run: RunRecord) -> str:
    """The table that shows a run."""
    return table_of(run.preset, run.task.suite)


def figures_of(root: Path | str, name: str) -> tuple[Path, list[Path]]:
    """The folder of the figures of a preset, of "speed" or of "table", and the files of the records that they show."""
    presets = COMBINED if name == TABLE else (name,)
    runs = (path for preset in presets for path in store.paths(root, preset))
    return Path(root) / "figures" / name, list(store.speed_paths(root) if name == "speed" else runs)


def analyses_of(root: Path | str) -> Path:
    """The folder of the figures and tables of `ssm-bench analyze`."""
    return Path(root) / "analysis"


def tasks(records: Iterable[RunRecord]) -> dict[str, str]:
    """Name and title of every column: the six, in their order, then the others in the records.

    If all records belong to other suites, such as probes, the columns are only their tasks, ordered by length.
    """
    records = list(records)
    others = {record.task.name: record.task for record in records if record.task.name not in TASKS}
    if records and all(record.task.suite != LRA for record in records):
        ordered = sorted(others.values(), key=lambda task: (task.name.partition("-")[0], task.length, task.name))
        return {task.name: task.title for task in ordered}
    return TASKS | {name: others[name].title for name in sorted(others)}


def models(records: Iterable[RunRecord]) -> dict[str, str]:
    """Name and title of every model in the records, in the order of the rows."""
    titles = {record.model.name: record.model.title for record in sorted(records, key=lambda r: r.created)}
    return dict(sorted(titles.items(), key=lambda item: (_rank(item[1]), item[1].lower(), item[0])))


def _rank(title: str) -> int:
    family = title.split(" (")[0]
    return MODELS.index(family) if family in MODELS else len(MODELS)
