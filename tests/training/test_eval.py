"""`ssm-bench eval`: the scores of a finished run again, and none that a run has not earned."""

import pytest

from ssm_bench.cli import main

from .test_loop import SIZES, StopAfter, config_of, run_in

SETTINGS = ("--model", "transformer", "--task", "text", "--preset", "quick", "--data", "synthetic", "--seed", "1")


pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shared_programs):
    """The folder of a finished run, and its record."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run_in(folder, *config_of())


@pytest.fixture(scope="module")
def under_way(tmp_path_factory, shared_programs):
    """The folder of a run at step 15 of 20, and its record."""
    folder = tmp_path_factory.mktemp("under-way")
    return folder, run_in(folder, *config_of(), StopAfter(3))


def evaluate(folder, split):
    return main(["eval", *SETTINGS, *SIZES, "--checkpoints", str(folder / "ckpt"), "--split", split])


@pytest.mark.parametrize("split", ["test", "validation"])
def test_it_gives_the_scores_of_the_record(finished, capsys, split):
    folder, record = finished
    assert evaluate(folder, split) == 0
    accuracy = getattr(record.result, f"{split}_accuracy")
    assert f"accuracy {100 * accuracy:.2f} %" in capsys.readouterr().out


def test_there_are_no_best_parameters_before_the_first_validation(tmp_path, capsys):
    run_in(tmp_path, *config_of(), StopAfter(1))
    assert evaluate(tmp_path, "validation") == 2
    assert "no best parameters yet: it is at step 5 of 20" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("test", "--split test is scored once, at the end of a run; this one is at step 15 of 20"),
        ("tset", "unknown --split 'tset'"),
    ],
)
def test_scores_that_a_run_has_not_earned(under_way, capsys, split, sentence):
    assert evaluate(under_way[0], split) == 2
    assert sentence in capsys.readouterr().err


def test_validation_of_a_run_under_way(under_way, capsys):
    folder, part = under_way
    assert evaluate(folder, "validation") == 0
    accuracy = part.to_dict()["curve"][0]["validation_accuracy"]
    assert f"accuracy {100 * accuracy:.2f} %" in capsys.readouterr().out
