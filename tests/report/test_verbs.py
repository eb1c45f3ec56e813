"""`ssm-bench table`, `figures` and `verify` as their users call them."""

import json
import os
import shutil
import subprocess
import sys

import msgspec
import pytest

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.record import store, validate_speed
from ssm_bench.report import publish

from .samples import budget, quick, record, write_all

PAGE = "# A\n<!-- table:begin table-strict -->\nold\n<!-- table:end -->\nB\n"


@pytest.fixture
def results(tmp_path):
    """A folder of results with two presets, and a README next to it."""
    write_all(
        [one for one in budget() if one.model.published is None or one.model.published.row != "No such row"],
        tmp_path / "results",
    )
    write_all(quick(), tmp_path / "results")
    (tmp_path / "README.md").write_text(PAGE)
    return tmp_path / "results"


def contents(folder) -> dict:
    """Every file below a folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_table_writes_prints_and_regenerates_the_same_bytes(results, capsys):
    assert main(["table", "--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert "share of the published schedule" in printed and "QUICK" in printed and "61.00 ± 2.48" in printed
    assert sorted(path.name for path in (results / "tables").iterdir() if path.name.startswith("quick")) == [
        "quick-strict-standalone.tex",
        "quick-strict.bib",
        "quick-strict.csv",
        "quick-strict.md",
        "quick-strict.tex",
    ]
    before = contents(results.parent)
    assert main(["table", "--results", str(results)]) == 0
    assert contents(results.parent) == before
    assert main(["table", "--results", str(results), "--check"]) == 0


def test_table_of_one_preset(results, capsys):
    assert main(["table", "--results", str(results), "--preset", "quick"]) == 0
    assert "every cell says" not in capsys.readouterr().out
    assert not list((results / "tables").glob("budget*"))
    assert (results.parent / "README.md").read_text() == PAGE


def test_a_preset_of_published_recipes_stands_in_the_common_table(results, capsys):
    for preset in ("budget", "paper"):
        assert main(["table", "--results", str(results), "--preset", preset]) == 0
        printed = capsys.readouterr().out
        assert "61.00 ± 2.48" in printed and "QUICK" not in printed
    assert not (results / "tables" / "runs.csv").exists()


def test_missing_cells_are_listed_and_nothing_is_written(results, capsys):
    write_all([record("s5", "image", 60.0, kind="synthetic", preset="paper")], results)
    before = contents(results.parent)
    assert main(["table", "--results", str(results), "--missing"]) == 0
    printed = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    # S5 has diverged on Path-X; the transformer has records of three failures, and none on Pathfinder.
    assert lines["s5"] == "pathx (diverged)"
    assert lines["transformer"] == "retrieval (partial at 0.3 %), image (error), pathfinder, pathx (oom)"
    assert "lru" not in lines and lines["gru"].count(",") == 5
    assert "cells have no finished run (paper or budget, protocol strict)" in printed
    assert contents(results.parent) == before

    assert main(["table", "--results", str(results), "--missing", "--preset", "paper"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["lru"] == "listops, text, retrieval, image, pathfinder, pathx" and lines["s5"].count(",") == 5


def test_check_names_what_differs_and_writes_nothing(results, capsys):
    main(["table", "--results", str(results)])
    (results / "tables" / "table-strict.md").write_text("by hand")
    (results / "tables" / "quick-strict.bib").unlink()
    for gone in ("gone-strict.csv", "gone-lra-runs.csv", "my-own-paper.bib"):
        (results / "tables" / gone).write_text("of records that are no more")
    (results / "tables" / "models.md").write_text("of no records")
    readme = results.parent / "README.md"
    readme.write_text(readme.read_text().replace("61.00", "99.00"))
    before = contents(results.parent)
    capsys.readouterr()
    assert main(["table", "--results", str(results), "--check"]) == 1
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 6
    for name in (
        *("table-strict.md", "quick-strict.bib", "README.md"),
        *("gone-strict.csv", "gone-lra-runs.csv", "my-own-paper.bib"),
    ):
        assert name in printed
    assert contents(results.parent) == before


def test_pages_are_not_those_of_records_elsewhere(results, capsys):
    elsewhere = results.rename(results.parent / "mine")
    before = (results.parent / "README.md").read_text()
    assert main(["table", "--results", str(elsewhere)]) == 0
    assert "README" not in capsys.readouterr().out and (results.parent / "README.md").read_text() == before
    assert main(["table", "--results", str(elsewhere), "--check"]) == 0
    # Unless they are named.
    assert main(["table", "--results", str(elsewhere), "--readme", str(results.parent / "README.md")]) == 0
    assert (results.parent / "README.md").read_text() != before


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--preset", "custom"], ["--protocol", "paper"]])
def test_no_records_is_a_clear_mistake(results, tmp_path, arguments, capsys):
    root = results if len(arguments) == 2 else tmp_path / "none"
    assert main(["table", "--results", str(root), *arguments]) == 2
    assert "no records" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_wrong_protocol_is_a_clear_mistake(results, capsys):
    assert main(["table", "--results", str(results), "--protocol", "strickt"]) == 2
    assert "did you mean strict" in capsys.readouterr().err


def test_where_every_record_is_bad_there_is_no_table(results, capsys):
    bad = [path for path in results.rglob("*.json") if path.write_text('{"status": "very ok"}')]
    assert main(["table", "--results", str(results)]) == 2
    printed = capsys.readouterr().err
    assert all(f"warning: left out {path}: " in printed for path in bad) and "no records under" in printed
    assert not (results / "tables").exists()


def test_readme_markers():
    blocks = {"a-strict": "A", "b-paper": "B"}
    text = "1<!-- table:begin a-strict -->x<!-- table:end -->2<!-- table:begin c-strict -->y<!-- table:end -->3"
    expected = "1<!-- table:begin a-strict -->\nA\n<!-- table:end -->2<!-- table:begin c-strict -->y<!-- table:end -->3"
    assert publish.readme_text(text, blocks) == expected
    assert publish.readme_text(expected, blocks) == expected
    assert publish.readme_text("no marker", blocks) == "no marker"


@pytest.mark.parametrize(
    "text",
    [
        "<!-- table:begin a-strict -->",
        "<!-- table:begin a-strict --><!-- table:begin b-paper --><!-- table:end -->",
    ],
)
def test_an_open_marker_is_a_clear_mistake(text):
    with pytest.raises(UserError, match="not closed"):
        publish.readme_text(text, {"a-strict": "A"})


def test_verify_finds_nothing_wrong_with_sound_results(results, capsys):
    store.write_speed(
        validate_speed(
            {
                "schema_version": 2,
                "kind": "speed",
                "benchmark": "step",
                "name": "step",
                "model": None,
                "task": None,
                "measurements": [{"metric": "step_ms", "value": 1}],
                "config_hash": None,
                "device": {"platform": "cpu", "kind": "cpu", "count": 1, "shared": False},
                "versions": {},
                "revision": {"commit": "33f0217", "dirty": False},
                "created": "2026-01-01T00:00:00Z",
            }
        ),
        results,
    )
    main(["table", "--results", str(results)])
    capsys.readouterr()
    assert main(["verify", "--results", str(results)]) == 0
    assert "1 readable speed records: no problem" in capsys.readouterr().out


def test_verify_tells_every_problem(results, capsys):
    write_all([record("lru", "toy", 50.0, row="Unheard of")], results)
    main(["table", "--results", str(results)])
    capsys.readouterr()
    runs = sorted((results / "runs" / "quick").rglob("*.json"))
    moved = runs[0].rename(runs[0].with_name("elsewhere.json"))
    raw = json.loads(runs[1].read_text())
    raw["steps"]["done"] = raw["steps"]["planned"] + 1
    raw["data"]["counts"]["test"] += 1
    runs[1].write_text(json.dumps(raw))
    assert main(["verify", "--results", str(results)]) == 1
    lines = capsys.readouterr().out.splitlines()
    for said in (f"{moved}: belongs at", "more than steps.planned", "adds up to", "'Unheard of'", "quick-strict.csv"):
        assert any(said in line for line in lines), said

    raw["result"] = {"test_accuracy": 2.0, "test_loss": None, "validation_accuracy": None, "best_step": 0}
    runs[1].write_text(json.dumps(raw))
    edited = next((results / "runs" / "budget").rglob("*.json"))
    edited.write_text(edited.read_text().replace('    "protocol": "strict"', '    "protocol": "other"'))
    assert main(["verify", "--results", str(results)]) == 1
    printed = capsys.readouterr().out
    assert f"{runs[1]}: field result.test_accuracy" in printed
    assert f"{edited}: field differences: protocol is" in printed


def bad_files(folder):
    """Fills a folder with what is no record, each under the name of its fault."""
    raw = record("s5", "text", 80.0).to_dict()
    deep = json.loads('{"a":' * 700 + "1" + "}" * 700)
    steps = raw["steps"]
    texts = {
        "noise": "\xff{",
        "list": "[]",
        "surrogate": json.dumps(raw | {"message": "\ud800"}),
        "escape": json.dumps(raw | {"message": "\x1b[31m"}),
        "key": json.dumps(raw | {"\x1b]0;title\x07": 1}),
        "deep": json.dumps(raw | {"config": deep}),
        "huge": json.dumps(raw | {"steps": steps | {"done": 10**400}}),
        "bibtex": json.dumps(raw | {"model": raw["model"] | {"bibtex": "@misc{a, b}} \\end{document}"}}),
        "misplaced": json.dumps(raw),
    }
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(text, encoding="latin-1")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    return [*texts, "folder", "pipe"]


def test_bad_files_are_named_and_stop_nothing(results, capsys):
    main(["table", "--results", str(results)])
    tables = contents(results / "tables")
    names = bad_files(results / "runs" / "budget" / "text" / "bad")
    (results / "speed").mkdir(exist_ok=True)
    os.mkfifo(results / "speed" / "speed.json")
    names.append("speed")
    capsys.readouterr()

    def named(printed):
        assert printed.isprintable() or set(filter(lambda c: not c.isprintable(), printed)) <= {"\n"}
        lines = printed.splitlines()
        for name in names:
            assert sum(f"/{name}.json: " in line for line in lines) == 1, name

    assert main(["table", "--results", str(results)]) == 0
    named(capsys.readouterr().err)
    assert contents(results / "tables") == tables
    assert main(["table", "--check", "--results", str(results)]) == 1
    capsys.readouterr()
    assert main(["verify", "--results", str(results)]) == 1
    named(capsys.readouterr().out)
    assert main(["figures", "--preset", "budget", "--results", str(results)]) == 0


MARKUP = "[/red] $x_{$ `a` | \\input{b} <script> & % # ~ ^"


def test_text_from_a_record_is_text_everywhere(tmp_path, capsys):
    one = record("s5", "text", 80.0)
    strange = msgspec.structs.replace(one, model=msgspec.structs.replace(one.model, title=MARKUP), message=MARKUP)
    write_all([strange], tmp_path)
    assert main(["table", "--results", str(tmp_path)]) == 0
    assert MARKUP in capsys.readouterr().out
    assert main(["figures", "--results", str(tmp_path)]) == 0
    tex = (tmp_path / "tables" / "table-strict.tex").read_text()
    assert r"\input{b}" not in tex and r"\textbackslash{}input\{b\}" in tex and r"\$x\_\{\$" in tex
    page = (tmp_path / "tables" / "table-strict.md").read_text()
    assert "<script>" not in page and r"\[/red\]" in page and r"\`a\` \|" in page
    drawn = (tmp_path / "figures" / "budget" / "strict-accuracy-cost.svg").read_text()
    assert "<script>" not in drawn


def test_no_two_models_look_the_same():
    from ssm_bench.config import experiment_names
    from ssm_bench.report import figures

    looks = [figures.style(place) for place in range(len(experiment_names()))]
    assert len({(look["color"], str(look["ls"])) for look in looks}) == len(looks)
    assert len({(look["color"], look["marker"]) for look in looks}) == len(looks)


def test_figures_are_the_same_bytes_each_time(results, capsys):
    assert main(["figures", "--results", str(results), "--preset", "quick"]) == 0
    first = contents(results / "figures")
    assert sorted(path.suffix for path in first) == [".png"] * 3 + [".sha256"] * 2 + [".svg"] * 3
    assert main(["figures", "--results", str(results), "--preset", "quick"]) == 0
    assert contents(results / "figures") == first
    assert main(["figures", "--results", str(results), "--preset", "paper"]) == 2
    assert "no records for --preset paper" in capsys.readouterr().err


def test_the_cost_of_runs_that_shared_a_device_is_marked_as_no_measure():
    from ssm_bench.report import figures

    shared, alone = record("s5", "text", 80.0, shared=True), record("lru", "text", 81.0)
    both = figures.draw([shared, alone], "budget", "strict")["strict-accuracy-cost.svg"].decode()
    assert "arrow: the device was shared" in both
    one = figures.draw([alone], "budget", "strict")["strict-accuracy-cost.svg"].decode()
    assert "arrow" not in one


def test_the_figure_of_the_table_shows_all_six_tasks(tmp_path):
    from ssm_bench.report import figures, layout

    runs = [record("s5", "text", 80.0), record("lru", "text", 81.0, preset="paper"), record("gru", "text", 60.0)]
    svg, png = figures.write_table(runs, tmp_path)
    assert (svg.suffix, png.suffix) == (".svg", ".png") and svg.parent == tmp_path / "figures" / "table"
    drawn = svg.read_text(encoding="utf-8")
    assert all(f"<!-- {title} -->" in drawn for title in layout.TASKS.values())
    assert "<!-- S5 -->" in drawn and "<!-- LRU -->" in drawn and "<!-- GRU -->" not in drawn
    assert drawn.count("<!-- no finished run yet -->") == len(layout.TASKS) - 1


def test_panels_without_a_task_are_hidden():
    from ssm_bench.report import figures

    tasks = {name: name.title() for name in ("listops", "text", "image", "pathfinder")}
    figure, panels = figures._panels(tasks, {}, "title", "across", "up")
    assert [axes for axes in figure.axes if axes.get_visible()] == list(panels.values())


@pytest.fixture
def blank_figures(monkeypatch):
    """Files of figures without their pictures: their hashes are compared, and drawing takes seconds."""
    from ssm_bench.report import figures

    monkeypatch.setattr(figures, "_bytes", lambda figure, kind, metadata: f"a figure as {kind}".encode())


@pytest.mark.usefixtures("blank_figures")
def test_verify_tells_figures_of_other_records(results, capsys):
    main(["table", "--results", str(results)])
    main(["figures", "--results", str(results)])
    assert main(["verify", "--results", str(results)]) == 0
    write_all([record("lru", "toy", 50.0, seed=7)], results)
    main(["table", "--results", str(results)])
    capsys.readouterr()
    assert main(["verify", "--results", str(results)]) == 1
    assert "not drawn from these records; run `ssm-bench figures`" in capsys.readouterr().out
    main(["figures", "--results", str(results)])
    assert main(["verify", "--results", str(results)]) == 0


@pytest.mark.usefixtures("blank_figures")
def test_verify_tells_figures_that_are_gone_changed_or_nobody_s(results, capsys):
    main(["table", "--results", str(results)])
    main(["figures", "--results", str(results)])
    folder = results / "figures" / "budget"
    gone, changed = sorted(folder.glob("*.svg"))[:2]
    gone.unlink()
    changed.write_bytes(changed.read_bytes() + b" ")
    nobody, preset = folder / "strict-old-figure.png", results / "figures" / "gone"
    nobody.write_bytes(b"old")
    preset.mkdir()
    before = contents(results)
    capsys.readouterr()
    assert main(["verify", "--results", str(results)]) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == [
        f"{preset}: belongs to no record; delete it",
        f"{nobody}: no figure of these records; delete it",
        *(f"{path}: not as it was drawn; run `ssm-bench figures`" for path in (gone, changed)),
    ]
    assert contents(results) == before
    nobody.unlink()
    preset.rmdir()
    main(["figures", "--results", str(results)])
    assert main(["verify", "--results", str(results)]) == 0
    shutil.rmtree(results / "figures" / "quick")
    assert main(["verify", "--results", str(results)]) == 0
    shutil.rmtree(folder)
    assert main(["verify", "--results", str(results)]) == 1
    shutil.rmtree(results / "figures")
    assert main(["verify", "--results", str(results)]) == 0


def test_learning_curves_need_a_curve():
    from ssm_bench.report import figures

    curved = [record("s5", "text", 80.0, seed=seed, curve=((100, 60.0 + seed), (500, 80.0))) for seed in range(2)] + [
        record("lru", "text", None, status="diverged", curve=((100, 50.0),))
    ]
    drawn = figures.draw(curved, "budget", "strict")
    assert "strict-learning-curves.svg" in drawn
    assert drawn["strict-learning-curves.png"].startswith(b"\x89PNG")
    assert "strict-learning-curves.svg" not in figures.draw(quick()[:1], "quick", "strict")


def lines_of(figure) -> list[list[tuple[float, float]]]:
    """The points of every curve and cross in the first panel; the line of chance spans the panel."""
    drawn = [list(zip(*line.get_data(), strict=True)) for line in figure.axes[0].lines]
    return [[(round(float(x), 6), round(float(y), 6)) for x, y in points] for points in drawn if points[0][0] != 0]


def curves_of(records):
    """The figure of learning curves."""
    from ssm_bench.report import aggregate, figures

    figure = figures._learning_curves(records, aggregate.cells(records), "title")
    assert figure is not None
    return figure, " ".join(figure.get_suptitle().split())


def test_a_failed_or_young_seed_leaves_the_curve_of_the_finished_ones_whole():
    finished = [
        record("s5", "text", 80.0, seed=seed, curve=tuple((step, 60.0 + seed) for step in range(100, 1001, 100)))
        for seed in range(2)
    ]
    failed = record("s5", "text", None, seed=2, status="diverged", curve=((100, 55.0), (200, 52.0)))
    young = record("s5", "text", None, seed=3, status="partial", curve=((100, 58.0),))
    silent = record("s5", "text", None, seed=4, status="oom")
    mean = [(10.0 * part, 60.5) for part in range(1, 11)]
    figure, title = curves_of(finished)
    assert lines_of(figure) == [mean] and "seeds: 2" in title and "failed" not in title
    figure, title = curves_of([*finished, failed, young, silent])
    cross = [(20.0, 52.0)]
    assert lines_of(figure) == [mean, [(10.0, 55.0), *cross], cross, [(10.0, 58.0)]]
    assert [line.get_marker() for line in figure.axes[0].lines][2] == "x"
    assert "seeds: 2 of 5" in title and "failed there" in title


def test_the_mean_is_taken_at_the_steps_that_all_finished_seeds_have():
    more = record("s5", "text", 80.0, seed=0, curve=((100, 60.0), (150, 70.0), (200, 70.0)))
    fewer = record("s5", "text", 80.0, seed=1, curve=((100, 62.0), (200, 76.0), (300, 90.0)))
    figure, _ = curves_of([more, fewer])
    assert lines_of(figure) == [[(10.0, 61.0), (20.0, 73.0)]]


def test_the_legend_counts_seeds_where_models_have_different_numbers():
    two = [record("s5", "text", 80.0, seed=seed, curve=((100, 60.0),)) for seed in range(2)]
    one = [record("lru", "text", 80.0, curve=((100, 60.0),))]
    figure, title = curves_of(two + one)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["S5 (seeds: 2)", "LRU (seeds: 1)", "chance"]
    assert "seeds" not in title
    more = [record(model, "text", None, status="oom", curve=((100, 60.0),)) for model in ("s4d", "zzz")]
    figure, _ = curves_of(two + one + more)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert legend.x0 >= 0 and legend.x1 <= figure.bbox.x1


def test_reports_never_import_jax(tmp_path):
    write_all([record("s5", "text", 80.0)], tmp_path)
    program = (
        "import importlib, pkgutil, sys, ssm_bench.record, ssm_bench.report\n"
        "from ssm_bench.cli import main\n"
        "for package in (ssm_bench.record, ssm_bench.report):\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module(f'{package.__name__}.{module.name}')\n"
        "codes = [main([verb, '--results', sys.argv[1]]) for verb in ('table', 'figures', 'verify')]\n"
        "loaded = {name.split('.')[0] for name in sys.modules} & {'jax', 'jaxlib', 'flax', 'optax', 'orbax'}\n"
        "sys.exit(0 if codes == [0, 0, 0] and not loaded else f'{codes} {loaded}')\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
