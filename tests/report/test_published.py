"""The published numbers are numbers, each with a source and in one place."""

import csv
from pathlib import Path

from ssm_bench.report import published

TABLE_TWO = "arXiv 2403.16899 Table II"
SOURCE = Path(published.__file__).parent / "published.csv"


def lines() -> list[dict[str, str]]:
    """The file, line by line."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_columns_and_ranges():
    assert list(lines()[0]) == ["row", "task", "accuracy", "std", "source", "note"]
    for line in lines():
        assert line["row"] and line["source"]
        assert line["task"] in {"listops", "text", "retrieval", "image", "pathfinder", "pathx"}
        assert 0 < float(line["accuracy"]) < 100 if line["accuracy"] else "FAIL" in line["note"]


def test_every_number_stands_once():
    places = [(line["row"], line["task"], line["source"]) for line in lines()]
    assert len(places) == len(set(places))


def test_lookup():
    value = published.lookup("S5", TABLE_TWO, "pathx")
    assert (value.accuracy, value.failed) == (98.58, False)
    assert published.lookup("Transformer", TABLE_TWO, "pathx").failed
    assert published.lookup("Transformer", TABLE_TWO, "pathx").accuracy is None
    assert published.lookup("S5", TABLE_TWO, "nothing") is None
    assert published.lookup("S5", "nowhere", "text") is None
    assert not published.known("S5", "nowhere")


def test_a_note_on_one_number_is_told_from_one_on_the_row():
    image = published.lookup("LRU", TABLE_TWO, "image")
    assert published.own_notes(image) == ("color CIFAR-10, not the gray images of LRA",)
    assert published.row_notes("LRU", TABLE_TWO) == ("copied from the LRU paper",)
    assert published.own_notes(published.lookup("LRU", TABLE_TWO, "text")) == ()
