"""The order of rows and columns, and the titles of presets, as every table and figure shows them."""

from collections.abc import Iterable

from ssm_bench.record import RunRecord

#: The six columns of the Long Range Arena; others follow in the order of their names.
TASKS = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "pathx": "Path-X",
}

#: The rows of arXiv 2403.16899, Table II; others follow in alphabetical order.
MODELS = ("Transformer", "S4", "S4D", "S5", "LRU", "S6", "RG-LRU")

#: What a table says of a preset of `ssm_bench.sweep.presets`; its name is enough for the others.
PRESET_TITLES = {
    "quick": "QUICK: toy size, not comparable with published numbers",
    "budget": "BUDGET: a stated share of the published schedule",
    "paper": "PAPER: the published schedules",
}


def preset_title(preset: str) -> str:
    """What a table says about its preset."""
    return PRESET_TITLES.get(preset, preset.upper())


def tasks(records: Iterable[RunRecord]) -> dict[str, str]:
    """Name and title of every column: the six always, in their order, then the others in the records."""
    others = {record.task.name: record.task.title for record in records if record.task.name not in TASKS}
    return TASKS | dict(sorted(others.items()))


def models(records: Iterable[RunRecord]) -> dict[str, str]:
    """Name and title of every model in the records, in the order of the rows."""
    titles = {record.model.name: record.model.title for record in sorted(records, key=lambda r: r.created)}
    return dict(sorted(titles.items(), key=lambda item: (_rank(item[1]), item[1].lower(), item[0])))


def _rank(title: str) -> int:
    family = title.split(" (")[0]
    return MODELS.index(family) if family in MODELS else len(MODELS)
