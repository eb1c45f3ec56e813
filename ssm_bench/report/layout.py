"""The order of rows and columns, and the names of presets and protocols, as every table and figure shows them."""

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

PRESETS = {
    "quick": "QUICK: toy size, not comparable with published numbers",
    "budget": "BUDGET: a stated share of the published schedule",
    "paper": "PAPER: the published schedules",
}

PROTOCOLS = {
    "strict": "validation is held out of the training set, test is scored once, padding never changes an output",
    "paper": "each family's published habits, such as selecting on the test set where its authors did",
    "lra": "the splits of the benchmark's own code; padding never changes an output",
}


def preset_title(preset: str) -> str:
    """What a table says about its preset."""
    return PRESETS.get(preset, preset.upper())


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
