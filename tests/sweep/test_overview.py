"""Kinds and sizes of models are those of the models that are trained."""

from ssm_bench.cli import main
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.sweep.overview import overview
from ssm_bench.train.run import make_program
from ssm_bench.train.step import count_parameters


def test_rows_are_read_from_classes_and_recipes():
    (lru, transformer), notes = overview(["lru", "transformer"], ["listops"], data="synthetic", tell=lambda _: None)
    assert (lru.parametrization, lru.structure, lru.discretization) == ("LTI", "MIMO", "none")
    assert (transformer.parametrization, transformer.scaffold) == ("nonlinear", "mlp")
    assert transformer.sizes["listops"].state is None
    assert notes == ["Vocabularies of the data found here: ListOps: synthetic."]
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
        ("tasks", "--format", "csv"): "--format is for list models, not for list tasks",
        ("models", "--out", "x"): "--out takes a table: say its --format",
        ("models", "--format", "csv", "--out", str(tmp_path)): "--out takes a file to write; ",
        (
            "models",
            "--models",
            "lru",
            "--format",
            "csv",
            "--out",
            "/dev/null/x.csv",
        ): "can not write the file /dev/null/x",
    }
    for arguments, sentence in mistakes.items():
        assert main(["list", *arguments]) == 2
        assert sentence in capsys.readouterr().err


def test_a_table_of_positions_has_the_length_of_the_task():
    ((row,), _) = overview(["transformer"], ["pathx"], data="synthetic", tell=lambda _: None)
    assert row.sizes["pathx"].parameters > 16_384 * 32
