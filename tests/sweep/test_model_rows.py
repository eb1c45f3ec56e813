"""Kinds and sizes of models are those of the models that are trained."""

import inspect
from pathlib import Path

from ssm_bench.cli import main
from ssm_bench.config import experiment
from ssm_bench.report.model_table import csv, latex, markdown
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.sweep.model_rows import model_rows
from ssm_bench.training.run import make_program
from ssm_bench.training.step import count_parameters


def test_rows_are_read_from_classes_and_recipes():
    (lru, transformer), notes = model_rows(["lru", "transformer"], ["listops"], data="synthetic", tell=lambda _: None)
    assert (lru.parametrization, lru.structure, lru.discretization) == ("LTI", "MIMO", "none")
    assert (transformer.parametrization, transformer.scaffold) == ("nonlinear", "mlp")
    assert transformer.sizes["listops"].state is None
    assert notes == ["Vocabularies of the data found here: ListOps: synthetic ListOps (short expressions, never cut)."]
    config, dataset = opened(
        Choices(preset="paper", data="synthetic").config(Cell(model="lru", task="listops", seed=0))
    )
    model = make_program(config, dataset).model
    assert lru.sizes["listops"].parameters == count_parameters(model.params)
    assert lru.sizes["listops"].state == model.state_size


def test_the_verb_writes_a_file_and_refuses_what_makes_no_sense(tmp_path, capsys):
    out = tmp_path / "models.csv"
    assert main(["list", "models", "--models", "lru", "--format", "csv", "--data", "synthetic", "--out", str(out)]) == 0
    assert out.read_text().startswith("model,title,parametrization,") and "wrote" in capsys.readouterr().out
    mistakes = {
        ("models", "--format", "csw"): "unknown --format 'csw' (did you mean csv",
        ("tasks", "--format", "csv"): "--format is for list models and list settings, not for list tasks",
        ("models", "--out", "x"): "--out needs a table: give its --format",
        ("models", "--models", "nosuch"): "--models needs a table: give its --format",
        ("models", "--format", "csv", "--out", str(tmp_path)): "--out takes a file to write; ",
        (
            "models",
            "--models",
            "lru",
            "--format",
            "csv",
            "--out",
            "/dev/null/x.csv",
        ): "cannot write the file /dev/null/x",
    }
    for arguments, sentence in mistakes.items():
        assert main(["list", *arguments]) == 2
        assert sentence in capsys.readouterr().err


def test_a_table_of_positions_has_the_length_of_the_task():
    ((row,), _) = model_rows(["transformer"], ["pathx"], data="synthetic", tell=lambda _: None)
    assert row.sizes["pathx"].parameters > 16_384 * 32


def test_a_task_without_a_recipe_has_no_size_and_a_sweep_leaves_it_out(tmp_path, monkeypatch, capsys):
    source = Path(inspect.getfile(experiment("transformer"))).read_text()
    (tmp_path / "mine.py").write_text(source + '\nRECIPES = {"text": RECIPES["text"], "image": RECIPES["image"]}\n')
    monkeypatch.setenv("SSM_BENCH_EXPERIMENTS", str(tmp_path))
    ((row,), notes) = model_rows(["mine"], ["text", "pathx"], data="synthetic", tell=lambda _: None)
    assert [*row.sizes] == ["text"] and "Path-X" not in notes[0]
    for text in (markdown, latex, csv):
        written = text([row], {"text": "Text", "pathx": "Path-X"}, notes)
        assert ("no recipe" in written) == (text is not csv)
    # A deadline that is over: what would be run, and no more.
    sweep = ["sweep", "--preset", "budget", "--data", "synthetic", "--no-table", "--jobs", "1", "--deadline", "0.001s"]
    sweep += ["--results", str(tmp_path / "results"), "--checkpoints", str(tmp_path / "checkpoints")]
    assert main(sweep) == 0
    out, err = capsys.readouterr()
    assert "experiments/mine.py has no recipe for pathfinder, listops, retrieval, pathx: left out\n" in err
    assert "2 not reached" in out
    assert main([*sweep, "--tasks", "listops,pathx"]) == main([*sweep, "--tasks", "text,nope"]) == 2
    assert "mine has no published recipe for listops: preset budget needs one" in capsys.readouterr().err
