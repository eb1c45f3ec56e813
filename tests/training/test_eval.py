"""`ssm-bench eval`: the scores of a finished run again, and none that a run has not earned."""

import pytest

from ssm_bench.cli import main

from .test_loop import SIZES, StopAfter, config_of, run_in

SETTINGS = ("--model", "transformer", "--task", "text", "--preset", "quick", "--data", "synthetic", "--seed", "1")


def evaluate(folder, split):
    return main(["eval", *SETTINGS, *SIZES, "--checkpoints", str(folder / "ckpt"), "--split", split])


@pytest.mark.parametrize("split", ["test", "validation"])
def test_it_gives_the_scores_of_the_record(tmp_path, capsys, split):
    record = run_in(tmp_path, *config_of())
    assert evaluate(tmp_path, split) == 0
    accuracy = getattr(record.result, f"{split}_accuracy")
    assert f"accuracy {100 * accuracy:.2f} %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chunks", "split", "sentence"),
    [
        (1, "validation", "no best parameters yet: it is at step 5 of 20"),
        (3, "test", "--split test is scored once, at the end of a run; this one is at step 15 of 20"),
        (3, "tset", "unknown --split 'tset'"),
    ],
)
def test_scores_that_a_run_has_not_earned(tmp_path, capsys, chunks, split, sentence):
    run_in(tmp_path, *config_of(), StopAfter(chunks))
    assert evaluate(tmp_path, split) == 2
    assert sentence in capsys.readouterr().err


def test_validation_of_a_run_under_way(tmp_path, capsys):
    part = run_in(tmp_path, *config_of(), StopAfter(3))
    assert evaluate(tmp_path, "validation") == 0
    accuracy = part.to_dict()["curve"][0]["validation_accuracy"]
    assert f"accuracy {100 * accuracy:.2f} %" in capsys.readouterr().out
