"""docs/findings.md: what its tables compute from the entries of the comparison table."""

from ssm_bench.report import findings, publish
from ssm_bench.report.table import build

from .samples import record

KINDS = {"S5": "LTI", "LRU": "LTI", "Transformer": "nonlinear"}
WHOLE = {"done": 1000, "planned": 1000}


def rows(block: str) -> list[list[str]]:
    """The cells of a Markdown table below its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]


def blocks(*runs, kinds=KINDS):
    return findings.blocks(build(runs, "table", "strict"), kinds)


def test_coverage_counts_cells_by_the_share_of_their_schedule_and_their_seeds():
    several = [record("s5", "text", 80.0 + seed, seed=seed, **WHOLE) for seed in range(3)]
    runs = [*several, record("lru", "text", 70.0, done=100), record("transformer", "text", 60.0, done=50)]
    failed = record("transformer", "image", None, status="diverged")
    counted = {row[0]: row[1:] for row in rows(blocks(*runs, failed)["findings-coverage"])}
    assert counted["Text"] == ["official", "3", "2", "1", "1"]
    assert counted["Image"] == ["–", "0", "0", "0", "0"]
    assert counted["All"] == ["", "3", "2", "1", "1"]


def test_the_best_cell_of_each_kind_is_named_with_its_share():
    runs = [record("s5", "text", 80.0, **WHOLE), record("lru", "text", 85.0), record("transformer", "text", 60.0)]
    best = {row[0]: row[1:] for row in rows(blocks(*runs)["findings-kinds"])}
    assert best["Text"] == ["85.00 (LRU, 50 %)", "60.00 (Transformer, 50 %)"] and best["Image"] == ["–", "–"]
    assert blocks(*runs, kinds={})["findings-kinds"] == "No record yet."


def test_the_headline_names_the_best_cell_of_each_task_with_its_share():
    runs = [record("s5", "text", 80.0, **WHOLE), record("lru", "text", 85.0), record("s5", "image", 70.0, done=50)]
    text = findings.headline(build(runs, "table", "strict"), models=2)
    assert "Text 85.00 (LRU, 50 %), Image 70.00 (S5, 5.0 %)." in text
    assert text.endswith("3 of 12 cells (2 models, 6 tasks) have a result, 1 of them with the full schedule.")
    assert findings.headline(build([record("s5", "text", None, status="oom")], "table", "strict")) == ""


def test_means_are_over_the_same_tasks_and_a_published_failure_counts_as_chance():
    means = {
        row[0]: row[1:]
        for row in rows(blocks(record("s5", "text", 80.0), record("s5", "image", 70.0, done=100))["findings-averages"])
    }
    # 89.31 and 88.00 are published for S5 on Text and Image, and 87.46 as its average.
    assert means["S5"] == ["2 of 6", "10 %", "75.00", "88.66", "87.46"]
    # The published average of the Transformer, whose Path-X failed.
    assert means["Transformer"] == ["0 of 6", "–", "–", "–", "53.66"]


def test_differences_to_published_values_are_those_of_whole_schedules():
    runs = [record("s5", "text", 88.31, **WHOLE), record("lru", "text", 87.4, **WHOLE), record("s4d", "text", 50.0)]
    assert rows(blocks(*runs)["findings-published"]) == [["Text", "official", "2", "-1.50", "-2.00", "-1.00"]]
    assert blocks(record("s4d", "text", 50.0))["findings-published"] == "No record yet."


def test_costs_are_scaled_to_whole_schedules():
    runs = [record("s5", "text", 80.0, seconds=1800.0), record("s5", "image", 70.0, seconds=3600.0, shared=True)]
    assert rows(blocks(*runs)["findings-cost"]) == [["S5", "2", "1", "1.50", "3.0", "Device 80GB"]]


def test_the_page_is_written_with_the_tables(tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "findings.md"
    page.write_text("a\n<!-- table:begin findings-cost -->\n<!-- table:end -->\nb\n")
    readme = tmp_path / "README.md"
    readme.write_text("")
    made = [build([record("s5", "text", 80.0)], "table", "strict")]
    text = publish.contents(made, tmp_path / "results", readme)[page]
    assert text.startswith("a\n") and text.endswith("b\n") and "| S5 | 1 |" in text
