"""Published accuracies, each with its source: `published.csv` next to this file."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: In the column `note`: the authors report that training failed, so there is no number.
FAIL = "FAIL"


@dataclass(frozen=True)
class PublishedValue:
    """One published number.

    Attributes:
        accuracy: test accuracy in percent; None if the authors report a failure.
        std: the published spread in percent, or None.
        notes: remarks for readers.
    """

    row: str
    task: str
    accuracy: float | None
    std: float | None
    source: str
    notes: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether the authors report a failure."""
        return FAIL in self.notes


def lookup(row: str, source: str, task: str) -> PublishedValue | None:
    """The number that `source` gives for `row` on `task`, or None."""
    return _table().get((row, source), {}).get(task)


def known(row: str, source: str) -> bool:
    """Whether `source` has a row of this name."""
    return (row, source) in _table()


def row_notes(row: str, source: str) -> tuple[str, ...]:
    """The notes that apply to every number of a row."""
    values = list(_table()[row, source].values())
    return tuple(note for note in values[0].notes if note != FAIL and all(note in value.notes for value in values))


def own_notes(value: PublishedValue) -> tuple[str, ...]:
    """The notes that apply only to this number."""
    shared = row_notes(value.row, value.source)
    return tuple(note for note in value.notes if note not in shared and note != FAIL)


@cache
def _table() -> dict[tuple[str, str], dict[str, PublishedValue]]:
    table: dict[tuple[str, str], dict[str, PublishedValue]] = {}
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            value = PublishedValue(
                row=line["row"],
                task=line["task"],
                accuracy=float(line["accuracy"]) if line["accuracy"] else None,
                std=float(line["std"]) if line["std"] else None,
                source=line["source"],
                notes=tuple(note.strip() for note in line["note"].split(";") if note.strip()),
            )
            table.setdefault((value.row, value.source), {})[value.task] = value
    return table
