"""The tables of the sample records, byte for byte, and what they may never do."""

import random
import re
import string
from pathlib import Path

import msgspec
import pytest

from ssm_bench import registry
from ssm_bench.data.dataset import PROTOCOLS, find
from ssm_bench.report import layout, render
from ssm_bench.report.table import AT_CHANCE, AT_CHANCE_TEXT, AVERAGE, _changes, build, names, percent
from ssm_bench.sweep.presets import PRESETS

from .samples import budget, paper_protocol, quick, record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table():
    """The table with every case in it."""
    return build(budget() + quick() + paper_protocol(), "budget", "strict")


def test_golden_files(table, golden):
    for name, text in render.files(table).items():
        golden(name, text)


def test_golden_readme_and_terminal(table, golden):
    golden("budget-strict-readme.md", render.markdown_compact(table))
    golden("budget-strict.txt", render.plain(table))


def test_golden_quick(golden):
    golden("quick-strict.md", render.markdown(build(quick(), "quick", "strict")))


def test_order_of_records_changes_no_byte(table):
    shuffled = budget()
    random.Random(0).shuffle(shuffled)
    assert render.files(build(shuffled, "budget", "strict")) == render.files(table)


def test_one_table_for_each_preset_and_protocol(table):
    assert names(budget() + quick() + paper_protocol()) == [
        ("budget", "paper"),
        ("budget", "strict"),
        ("quick", "strict"),
    ]
    assert {(run.preset, run.protocol) for run in table.records} == {("budget", "strict")}


def test_a_protocol_that_selects_on_the_test_set_says_so():
    notes = {
        protocol: dict(build([record("s5", "text", 80.0, protocol=protocol)], "budget", protocol).notes)["Protocol"]
        for protocol in PROTOCOLS
    }
    assert {protocol: "on the test set" in note for protocol, note in notes.items()} == {
        "strict": False,
        "paper": True,
        "lra": True,
    }


def test_a_title_is_that_of_a_preset():
    assert set(layout.PRESET_TITLES) < set(PRESETS)


def test_rows_and_columns_in_the_order_of_the_published_table(table):
    assert list(table.rows.values()) == ["Random", "Transformer", "S5", "LRU", "Aardvark_2 {100%}"]
    assert list(table.tasks) == ["listops", "text", "retrieval", "image", "pathfinder", "pathx", "toy"]


def test_best_and_second_by_column(table):
    ranks = {model: table.entries[model, "listops"].rank for model in table.rows}
    assert ranks == {"random": None, "transformer": None, "s5": 1, "lru": 2, "zzz": None}
    # Equal as printed: both are second.
    assert [table.entries[model, "text"].rank for model in ("lru", "s5", "zzz")] == [1, 2, 2]


def test_a_column_of_several_data_sets_is_marked_and_not_ranked(table):
    column = table.cells("image")
    assert all(entry.rank is None for entry, _ in column)
    texts = {table.footnotes[entry.marks[0]] for entry, _ in column}
    assert texts == {"Image data: Real Image, official", "Image data: Gray CIFAR-10 from colour, rebuilt"}
    assert all(entry.rank is None for entry in table.column(AVERAGE))


def test_what_is_left_out_is_named(table):
    entry = table.entries["s5", "pathfinder"]
    assert entry.accuracy == 93.0
    assert any("not shown: config" in table.footnotes[mark] for mark in entry.marks if mark in table.footnotes)


def test_settings_that_differ_in_what_is_left_out_are_named():
    shown = {"seed": 0, "optimizer": {"lr": 0.1, "groups": {"weight": "global"}}, "train": {"steps": 10}}
    other = {"seed": 1, "optimizer": {"lr": 0.2, "groups": {"weight": "ssm"}}, "train": {"steps": 20, "lengths": 2}}
    assert _changes(shown, other) == ["optimizer.groups.weight ssm", "optimizer.lr 0.2", "train.lengths 2"]
    assert _changes(other, shown)[-1] == "train.lengths unset"
    assert _changes(shown, {name: 1 for name in string.ascii_lowercase}) == []


def test_half_precision_is_marked_wherever_it_stands():
    half, single = ({"model": {"precision": precision}} for precision in ("bf16", "float32"))
    runs = [
        record("s5", "listops", 60.0, config=half),
        record("s5", "text", 87.0, config=half, done=1000, planned=1000),
        record("s5", "text", 88.0),
        record("lru", "text", 86.0, config=single),
        record("lru", "listops", 60.0, config=single, done=1000, planned=1000),
        record("lru", "listops", 59.0, config=half),
    ]
    table = build(runs, "budget", "strict")
    marked = {
        place: any("bf16 activations; states" in table.footnotes.get(mark, "") for mark in entry.marks)
        for place, entry in table.entries.items()
        if entry.cell
    }
    assert {place for place, half in marked.items() if half} == {("s5", "listops"), ("s5", "text")}
    assert sum(text == "bf16 activations; states and weights are float32" for text in table.footnotes.values()) == 1
    # What another run in the same place was made with is said, too.
    (other,) = (table.footnotes[m] for m in table.entries["lru", "listops"].marks if m in table.footnotes)
    assert "not shown: config" in other and "bf16 activations" in other


def test_difference_is_between_the_numbers_as_printed(table):
    entry = table.entries["s5", "listops"]
    assert (entry.accuracy, entry.published) == (pytest.approx(61.0), 62.15)
    assert f"{entry.difference:.2f}" == "-1.15"
    assert table.entries["zzz", "text"].published is None


def test_toy_sizes_and_synthetic_data_show_no_difference():
    table = build([*quick(), record("s5", "image", 50.0, kind="synthetic")], "quick", "strict")
    assert table.entries["s5", "text"].published == 89.31
    assert all(entry.difference is None for entry in table.entries.values())
    assert "not comparable" in table.title
    stand_in = build([record("s5", "image", 50.0, kind="synthetic")], "budget", "strict").entries["s5", "image"]
    assert (stand_in.published, stand_in.difference) == (88.0, None)


def test_share_is_rounded_down():
    assert [percent(share) for share in (0.29, 0.999999, 1.0, 2.5, 0.0, 0.0999, None)] == [
        "29 %",
        "99 %",
        "100 %",
        "250 %",
        "0 %",
        "9.9 %",
        "?",
    ]


def test_marks_go_on_after_z():
    many = [
        record("s5", "text", None, seed=seed, status="diverged", message=f"number {seed}", done=seed)
        for seed in range(30)
    ]
    assert list(build(many, "budget", "strict").footnotes)[25:28] == ["z", "aa", "ab"]


@pytest.mark.parametrize("task", registry.names("tasks"))
def test_a_table_cites_the_data_of_its_tasks(task):
    entry = find(task).bibtex
    key = re.fullmatch(r"@\w+\{(\w+),.*\}", entry, re.S)
    assert key is not None
    made = build([record("s5", task, 80.0)], "budget", "strict")
    assert entry in render.files(made)["budget-strict.bib"]
    # Whose page has the same entry.
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "tasks").glob("*.md")]
    assert any(f"{{{key[1]}," in page for page in pages)
    others = build([record("s5", "toy", 80.0)], "budget", "strict")
    assert key[1] not in render.files(others)["budget-strict.bib"]


def test_the_data_of_a_variant_are_those_of_its_task():
    one = record("s5", "pathfinder", 80.0)
    variant = msgspec.structs.replace(one, task=msgspec.structs.replace(one.task, name="pathfinder-32-easy"))
    assert "{linsley2018learning," in render.files(build([variant], "budget", "strict"))["budget-strict.bib"]


def test_text_of_others_is_escaped(table):
    page = render.markdown(table)
    assert r"50% of A\_1 is {nan} &amp; &lt;inf&gt;" in page
    assert all(line.count(" | ") == 9 for line in page.splitlines() if line.startswith("| "))
    source = render.latex(table)
    assert r"50\% of A\_1 is \{nan\} \& \textless{}inf\textgreater{}" in source


def test_narrow_terminals_get_the_columns_in_turns(table):
    from rich.console import Console

    console = Console(width=80, force_terminal=True, color_system=None, highlight=False)
    with console.capture() as printed:
        render._print_to(console, table)
    lines = printed.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(line for line in lines if "Aardvark" in line)
    assert all(any(title in line for line in lines) for title in table.tasks.values())
    # Every mark that is explained below stands somewhere above.
    explained = {line[1 : line.index("]")] for line in lines if line.startswith("[")}
    shown = {
        mark
        for line in lines
        if line[:1] != "["
        for found in re.findall(r"\[([^]]*)\]", line)
        for mark in found.split(",")
    }
    assert explained <= shown


def test_what_can_not_be_told_from_one_answer_to_all_is_marked():
    """100 test examples, of which 52 have one label: the standard error is 5 %."""
    runs = [record("s5", "text", 61.0), record("lru", "text", 63.0), record("s5", "pathfinder", 40.0)]
    marked = build(
        [*runs, record("lru", "pathfinder", 50.0, seed=0), record("lru", "pathfinder", 90.0, seed=1)],
        "budget",
        "strict",
    )
    found = {place for place, entry in marked.entries.items() if AT_CHANCE in entry.marks}
    assert found == {("s5", "text"), ("s5", "pathfinder")}
    assert AT_CHANCE in render.markdown(marked) and r"\S{}" in render.latex(marked)
    assert AT_CHANCE_TEXT in render.cells_csv(marked)
