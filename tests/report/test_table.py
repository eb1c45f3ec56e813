"""The tables of the sample records, byte for byte, and what they may never do."""

import random
import re
import string
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from ssm_bench.data.dataset import PROTOCOLS, find
from ssm_bench.report import figures, layout, publish, render
from ssm_bench.report import published as published_values
from ssm_bench.report import runs as runs_page
from ssm_bench.report.runs import changes
from ssm_bench.report.table import AT_CHANCE, AT_CHANCE_TEXT, AVERAGE, YOUNG, Peer, build, kinds, percent
from ssm_bench.sweep.presets import PRESETS
from ssm_bench.training import pretrained

from .samples import budget, paper_protocol, quick, record

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def table():
    """The table with every case in it."""
    return build(budget() + quick() + paper_protocol(), "table", "strict")


def test_golden_files(table, golden):
    for name, text in render.files(table).items():
        golden(name, text)


def test_golden_readme_and_terminal(table, golden):
    golden("table-strict-readme.md", render.markdown_compact(table))
    golden("table-strict.txt", render.plain(table))


def test_golden_quick(golden):
    golden("quick-strict.md", render.markdown(build(quick(), "quick", "strict")))


def test_order_of_records_changes_no_byte(table):
    shuffled = budget()
    random.Random(0).shuffle(shuffled)
    assert render.files(build(shuffled, "table", "strict")) == render.files(table)


def test_one_table_of_published_recipes_and_one_of_every_other_preset(table):
    records = budget() + quick() + paper_protocol() + [record("s5", "text", 80.0, preset="paper")]
    assert kinds(records) == [("quick", "strict"), ("table", "paper"), ("table", "strict")]
    assert {run.preset for run in build(records, "table", "strict").records} == {"paper", "budget"}
    assert {(run.preset, run.protocol) for run in table.records} == {("budget", "strict")}


def test_a_protocol_that_selects_on_the_test_set_says_so():
    notes = {
        protocol: dict(build([record("s5", "text", 80.0, protocol=protocol)], "table", protocol).notes)["Protocol"]
        for protocol in PROTOCOLS
    }
    assert {protocol: "on the test set" in note for protocol, note in notes.items()} == {
        "strict": False,
        "paper": True,
        "lra": True,
    }


def test_a_title_is_that_of_a_preset():
    assert set(layout.PRESET_TITLES) - {layout.TABLE} < {*PRESETS, *pretrained.PRESETS}
    assert set(layout.COMBINED) < set(PRESETS)


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
    assert texts == {"Image data: Real Image, official", "Image data: Gray CIFAR-10 from color, rebuilt"}
    assert all(entry.rank is None for entry in table.column(AVERAGE))


def test_a_cell_shows_the_largest_share_then_the_most_seeds_then_the_latest():
    runs = [
        record("s5", "text", 81.0, preset="budget", done=100),
        record("s5", "text", 82.0, preset="paper", done=1000, planned=1000),
        record("s5", "text", 83.0, preset="budget", done=300, created="2026-09-01T00:00:00Z"),
        # One step more of a long schedule is no larger share.
        *(record("lru", "text", 70.0 + seed, seed=seed, config={"lr": 1}, done=500) for seed in range(3)),
        record("lru", "text", 60.0, config={"lr": 2}, done=501, created="2026-09-01T00:00:00Z"),
        record("s4d", "text", 50.0, config={"lr": 1}),
        record("s4d", "text", 55.0, config={"lr": 2}, created="2026-09-01T00:00:00Z"),
        # A failure is shown only where nothing has finished, and is told in any case.
        record("zzz", "text", None, preset="paper", status="diverged", done=900, planned=1000, row=None),
        record("zzz", "text", 65.0, done=200, row=None),
    ]
    table = build(runs, "table", "strict")
    shown = {m: round(table.entries[m, "text"].accuracy or 0, 2) for m in ("s5", "lru", "s4d", "zzz")}
    assert shown == {"s5": 82.0, "lru": 71.0, "s4d": 55.0, "zzz": 65.0}
    texts = [table.footnotes[mark] for mark in table.entries["zzz", "text"].marks if mark in table.footnotes]
    assert texts == ["Aardvark_2 {100%} on Text: another run failed: paper, seed 0, diverged after 900 steps"]


def test_a_run_with_changed_settings_is_marked_and_gives_way_to_one_without():
    changed = {"report": {"changed": "model.d_model=64"}, "model": {"d_model": 64}}
    other = record("s5", "text", 90.0, preset="quick", config=changed, created="2026-09-01T00:00:00Z")
    alone = build([other], "quick", "strict")
    assert "S5 on Text: changed settings: model.d_model=64" in alone.footnotes.values()
    both = build([record("s5", "text", 80.0, preset="quick"), other], "quick", "strict")
    assert both.entries["s5", "text"].accuracy == pytest.approx(80.0)
    assert not any("changed" in note for note in both.footnotes.values())


def test_only_the_comparison_table_has_columns_without_runs():
    runs = [record("s5", "text", 80.0), record("s5", "text", 80.0, preset="quick")]
    assert list(build(runs, "quick", "strict").columns) == ["text"]
    assert list(build(runs, "table", "strict").columns)[:6] == list(layout.TASKS)


def test_data_identities_are_marked_in_cells_of_different_presets():
    runs = [
        record("s5", "listops", 60.0, preset="paper", kind="generated", identity="ListOps 1"),
        record("lru", "listops", 61.0, preset="budget", kind="generated", identity="ListOps 2"),
    ]
    table = build(runs, "table", "strict")
    marks = {
        m: [table.footnotes[x] for x in table.entries[m, "listops"].marks if x in table.footnotes]
        for m in ("s5", "lru")
    }
    assert marks == {
        "s5": ["ListOps data: ListOps 1, generated"],
        "lru": ["ListOps data: ListOps 2, generated"],
    }
    assert all(entry.rank is None for entry in table.column("listops"))


def test_less_than_a_tenth_is_gray_and_never_bold_or_underlined():
    runs = [
        record("s5", "text", 66.0, done=99),
        record("lru", "text", 88.0, done=100),
        record("s4d", "text", 77.0, done=1000, planned=1000),
        *(record("zzz", task, 55.0, done=50, planned=50) for task in layout.TASKS),
    ]
    table = build(runs, "table", "strict")
    entries = {model: table.entries[model, "text"] for model in ("s5", "lru", "s4d", "zzz")}
    assert {m: entry.young for m, entry in entries.items()} == {"s5": True, "lru": False, "s4d": False, "zzz": True}
    assert {m: entry.rank for m, entry in entries.items()} == {"s5": None, "lru": 1, "s4d": 2, "zzz": None}
    # An average over gray cells is gray.
    assert table.entries["zzz", AVERAGE].young and table.entries["zzz", AVERAGE].rank is None
    for page in (render.markdown(table), render.markdown_compact(table)):
        assert "*66.00*" in page and "**66.00**" not in page and "**88.00**" in page and "<ins>77.00</ins>" in page
        assert YOUNG in page
    source = render.latex(table)
    assert r"{\color{gray}66.00}" in source and r"\textbf{66.00}" not in source and r"\textbf{88.00}" in source
    style = {str(cell): cell.style for cell in (render._rich_cell(entry) for entry in entries.values())}
    assert [str(found) for text, found in style.items() if text.startswith("66.00")] == ["dim italic"]
    assert YOUNG not in render.markdown(build([record("s5", "text", 99.0)], "table", "strict"))


def test_a_better_gray_cell_leaves_the_best_of_the_others_without_a_mark():
    shares = {"s5": (99.0, 99), "lru": (88.0, 100), "s4d": (77.0, 100)}
    runs = [record(model, "text", score, done=done) for model, (score, done) in shares.items()]
    table = build(runs, "table", "strict")
    ranks = {model: table.entries[model, "text"].rank for model in shares}
    assert ranks == {"s5": None, "lru": 2, "s4d": None}


def test_the_authors_code_stands_beside_ours_and_is_not_ranked():
    runs = [record("s5", "listops", 58.0), record("lru", "listops", 50.0), record("s5", "text", 87.0)]
    theirs = Peer(accuracy=95.0, share=0.9, implementation="lindermanlab/S5@3c18fdb")
    peers = {("s5", "listops", "c0ffee00"): theirs, ("s5", "text", "00000000"): theirs}
    table = build(runs, "table", "strict", peers=peers)
    assert table.entries["s5", "listops"].peer == theirs and table.entries["s5", "text"].peer is None
    assert table.entries["s5", "listops"].rank == 1
    for text in (render.markdown(table), render.markdown_compact(table), render.plain(table), render.latex(table)):
        assert text.replace("''", "'").count("authors' code 95.00, 90") == 1 and "lindermanlab/S5" in text
    assert "95.00,0.9000,lindermanlab/S5@3c18fdb" in render.cells_csv(table)


def test_the_readme_shows_the_rows_of_table_two_whether_or_not_they_were_run():
    table = build(budget(), "table", "strict", titles=list(layout.TABLE_TWO))
    assert list(table.rows.values()) == ["Random", *layout.TABLE_TWO]
    page = render.markdown_compact(table)
    assert "Aardvark" not in page
    assert "| RG-LRU (tuned) | - | - |" in page
    # What was published is known without a run.
    assert "| S6 | -<br><sub>38.02</sub> | -<br><sub>82.98</sub> |" in page
    published = published_values.lookup("Transformer", layout.TABLE_TWO_SOURCE, "pathfinder")
    assert published and f"-<br><sub>{published.accuracy:.2f}</sub>" in page


def test_every_run_is_listed_with_what_differs_from_the_one_that_is_shown(golden):
    tables = [build(budget() + quick(), "table", "strict"), build(quick(), "quick", "strict")]
    golden("runs.csv", runs_page.csv(tables))
    page = runs_page.markdown(tables)
    golden("runs.md", page)
    assert page.count("[record](") == len(budget() + quick())
    (line,) = [line for line in page.splitlines() if line.startswith("| S5 | Pathfinder") and "95.00" in line]
    assert "| no | lr 0.2 |" in line


def test_settings_that_differ_in_what_is_left_out_are_named():
    shown = {"seed": 0, "optimizer": {"lr": 0.1, "groups": {"weight": "global"}}, "train": {"steps": 10}}
    other = {"seed": 1, "optimizer": {"lr": 0.2, "groups": {"weight": "ssm"}}, "train": {"steps": 20, "lengths": 2}}
    assert changes(shown, other) == ["optimizer.groups.weight ssm", "optimizer.lr 0.2", "train.lengths 2"]
    assert changes(other, shown)[-1] == "train.lengths unset"
    assert changes(shown, {name: 1 for name in string.ascii_lowercase}) == []


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
    table = build(runs, "table", "strict")
    marked = {
        place: any("bfloat16 activations; states" in table.footnotes.get(mark, "") for mark in entry.marks)
        for place, entry in table.entries.items()
        if entry.cell
    }
    assert {place for place, half in marked.items() if half} == {("s5", "listops"), ("s5", "text")}
    assert sum(text == "bfloat16 activations; states and weights are float32" for text in table.footnotes.values()) == 1
    # What another run in the same place was made with is in the list of runs.
    (other,) = (
        line for line in runs_page.markdown([table]).splitlines() if line.startswith("| LRU") and "59.00" in line
    )
    assert "| no | model.precision bf16 |" in other


def test_difference_is_between_the_numbers_as_printed(table):
    entry = table.entries["s5", "listops"]
    assert (entry.accuracy, entry.published) == (pytest.approx(61.0), 62.15)
    assert f"{entry.difference:.2f}" == "-1.15"
    assert table.entries["zzz", "text"].published is None


def test_toy_sizes_have_no_published_value_and_synthetic_data_no_difference():
    table = build([*quick(), record("s5", "image", 50.0, kind="synthetic")], "quick", "strict")
    assert all(entry.published is None and entry.difference is None for entry in table.entries.values())
    assert "not comparable" in table.title
    stand_in = build([record("s5", "image", 50.0, kind="synthetic")], "table", "strict").entries["s5", "image"]
    assert (stand_in.published, stand_in.difference) == (88.0, None)


def test_a_run_without_a_published_recipe_says_so():
    table = build([record("s5", "toy", 50.0, preset="custom", published=None)], "custom", "strict")
    (entry,) = (entry for entry in table.entries.values() if entry.cell)
    assert any("no published recipe; the defaults of the model" in table.footnotes.get(m, "") for m in entry.marks)


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
    assert list(build(many, "table", "strict").footnotes)[25:28] == ["z", "aa", "ab"]


def on_probe(run, name, length):
    task = msgspec.structs.replace(run.task, name=name, title=name.upper(), length=length, suite="probe")
    return msgspec.structs.replace(run, task=task)


def test_runs_on_tasks_of_another_suite_have_a_table_of_their_own(table):
    one = record("s5", "text", 80.0, preset="custom", published=None)
    probes = [on_probe(one, name, length) for name, length in (("mqar-1024", 1024), ("mqar", 256), ("mqar-64", 64))]
    records = [*budget(), one, *probes]
    assert kinds(records) == [("custom", "strict"), ("probe-custom", "strict"), ("table", "strict")]
    assert list(build(records, "custom", "strict").columns) == ["text"]
    assert render.files(build(records, "table", "strict")) == render.files(table)
    made = build(records, "probe-custom", "strict")
    assert made.columns == {"mqar-64": "MQAR-64", "mqar": "MQAR", "mqar-1024": "MQAR-1024"}
    assert made.title == "Suite probe, protocol strict · CUSTOM"
    page = render.markdown(made)
    assert "80.00" in page and "ListOps" not in page and "six tasks" not in page
    assert "{arora2023zoology," in render.files(made)["probe-custom-strict.bib"]
    # A preset is shown by the tables of all suites.
    assert [t.kind for t in publish.tables("nowhere", "custom", records=records)] == ["custom", "probe-custom"]
    assert not figures.draw(probes, "custom", "strict")


def test_a_record_of_the_comparison_table_does_not_name_its_suite():
    one = record("s5", "text", 80.0)
    assert "suite" not in one.to_json()
    assert '"suite": "probe"' in on_probe(one, "mqar", 256).to_json()


@pytest.mark.parametrize("task", layout.TASKS)
def test_a_table_cites_the_data_of_its_tasks(task):
    entry = find(task).bibtex
    key = re.fullmatch(r"@\w+\{(\w+),.*\}", entry, re.S)
    assert key is not None
    made = build([record("s5", task, 80.0)], "table", "strict")
    assert entry in render.files(made)["table-strict.bib"]
    # Whose page has the same entry.
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "tasks").glob("*.md")]
    assert any(f"{{{key[1]}," in page for page in pages)
    others = build([record("s5", "toy", 80.0)], "table", "strict")
    assert key[1] not in render.files(others)["table-strict.bib"]


def test_the_data_of_a_variant_are_those_of_its_task():
    one = record("s5", "pathfinder", 80.0)
    variant = msgspec.structs.replace(one, task=msgspec.structs.replace(one.task, name="pathfinder-32-easy"))
    assert "{linsley2018learning," in render.files(build([variant], "table", "strict"))["table-strict.bib"]


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
        "table",
        "strict",
    )
    found = {place for place, entry in marked.entries.items() if AT_CHANCE in entry.marks}
    assert found == {("s5", "text"), ("s5", "pathfinder")}
    assert AT_CHANCE in render.markdown(marked) and r"\S{}" in render.latex(marked)
    assert AT_CHANCE_TEXT in render.cells_csv(marked)


def test_only_finished_runs_of_the_authors_code_on_the_same_data_are_shown(monkeypatch):
    def theirs(status):
        run = record("s5", "text", 88.0, done=900)
        return SimpleNamespace(status=status, result=run.result, steps=run.steps, implementation="owner/name@1234567")

    found = {"c0ffee00": {("s5", "text"): theirs("ok"), ("lru", "text"): theirs("partial")}}
    monkeypatch.setattr(publish, "peers_of", lambda root, checksum: found.get(checksum, {}))
    runs = [record("s5", "text", 87.0), record("lru", "text", 86.0), record("s5", "image", 80.0, checksum="deadbeef")]
    peers = publish.peers("results", runs)
    assert peers == {("s5", "text", "c0ffee00"): Peer(pytest.approx(88.0), 0.9, "owner/name@1234567")}
