"""Several seeds in one program: each is the run that it would have been alone."""

import json

import numpy as np
import pytest

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.training.run import make_trainer, run
from ssm_bench.training.stop import Stop
from ssm_bench.training.together import Together

from .test_loop import SEVERAL_LENGTHS, StopAfter, config_of

pytestmark = pytest.mark.usefixtures("shared_programs")

# The same float32 sums in a program of other shapes, over twenty steps of training.
TOLERANCE = 2e-5

SEEDS = (3, 1)

# Batch statistics, dropout, and lengths that differ from seed to seed in the same step.
SETTINGS = SEVERAL_LENGTHS


def run_in(folder, config, dataset, stop=None, seeds=SEEDS):
    folders = {"results": folder / "results", "checkpoints": folder / "ckpt"}
    return run(config, dataset, **folders, stop=stop or Stop(), tell=lambda *_: None, seeds=seeds)


def assert_equal(record, alone):
    assert (record.seed, record.config_hash, record.steps) == (alone.seed, alone.config_hash, alone.steps)
    assert record.model == alone.model and record.status == alone.status == "ok"
    assert record.result.best_step == alone.result.best_step
    assert record.result.test_accuracy == alone.result.test_accuracy
    assert record.result.test_loss == pytest.approx(alone.result.test_loss, rel=TOLERANCE)
    for point, of_alone in zip(record.curve, alone.curve, strict=True):
        assert point.train_loss == pytest.approx(of_alone.train_loss, rel=TOLERANCE)
        assert point.validation_loss == pytest.approx(of_alone.validation_loss, rel=TOLERANCE)


def test_every_seed_is_the_run_that_it_would_be_alone(tmp_path):
    config, dataset = config_of(*SETTINGS, model="lru")
    partial = run_in(tmp_path / "together", config, dataset, StopAfter(3))
    assert [record.status for record in partial] == ["partial"] * 2
    records = run_in(tmp_path / "together", config, dataset)
    assert [record.seed for record in records] == list(SEEDS)
    for record in records:
        config.seed = record.seed
        (alone,) = run_in(tmp_path / "alone", config, dataset, seeds=())
        assert_equal(record, alone)
        assert record.together == list(SEEDS)
        # Its checkpoint is that of a run alone, too: there is nothing left to do.
        (again,) = run_in(tmp_path / "together", config, dataset, seeds=())
        assert_equal(again, alone)


def test_the_times_of_a_seed_are_its_share_and_no_measure(tmp_path, monkeypatch):
    real = Together._train_chunk

    def slow(self, state, size):
        state, metrics, _ = real(self, state, size)
        return state, metrics, 2.5

    monkeypatch.setattr(Together, "_train_chunk", slow)
    records = run_in(tmp_path, *config_of(model="gru"))
    assert [record.cost.seconds_train for record in records] == [5.0, 5.0]
    assert not any(record.alone for record in records)


def test_a_seed_whose_last_parameters_score_nothing_does_not_end_the_others(tmp_path, monkeypatch):
    def score(self, params, stats, split):
        poisoned = split == "validation" and self.outcome.step == 20
        return np.array([[0.5, 1.0], [0.0, np.nan] if poisoned else [0.5, 1.0]])

    monkeypatch.setattr(Together, "score", score)
    records = run_in(tmp_path, *config_of(model="gru"))
    assert [record.status for record in records] == ["ok", "diverged"]
    assert records[1].message.startswith("validation loss is not finite with the parameters of step 20 of 20")


def test_a_seed_that_diverges_does_not_end_the_others(tmp_path, monkeypatch):
    real = Together._train_chunk

    def poisoned(self, state, size):
        state, metrics, seconds = real(self, state, size)
        if self.outcome.step == 5:
            metrics[2, 1] = np.nan
        return state, metrics, seconds

    monkeypatch.setattr(Together, "_train_chunk", poisoned)
    config, dataset = config_of(model="gru")
    # Stopped after that, it is known still; all wait for the end.
    assert [r.status for r in run_in(tmp_path, config, dataset, StopAfter(3))] == ["partial"] * 2
    records = run_in(tmp_path, config, dataset)
    assert [r.status for r in records] == ["ok", "diverged"]
    assert records[1].message.startswith("loss is not finite at step 8 of 20") and records[1].result is None


def test_masks_that_depend_on_the_padded_length_are_refused():
    config, dataset = config_of(*SETTINGS, "--config.model.tie_dropout=False")
    with pytest.raises(UserError, match=r"--together .* add --config.train.lengths=1; got 2"):
        make_trainer(config, dataset, seeds=SEEDS)


def test_a_sweep_of_seeds_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ("--config.train.steps=4", "--config.model.d_model=8", "--config.model.layers=1")
    sweep = ("sweep", "--models", "gru", "--tasks", "text", "--data", "synthetic", "--jobs", "1", "--no-table")
    sweep += (*sizes, "--config.task.max_length=64", "--config.task.examples=100")
    assert main([*sweep, "--seeds", "0"]) == 0
    assert main([*sweep, "--seeds", "0,1,2", "--together"]) == 0
    assert "[1/1] gru text seeds 0, 1, 2: ok" in capsys.readouterr().err
    paths = list(store.paths(tmp_path / "results"))
    assert sorted(json.loads(path.read_text())["seed"] for path in paths) == [0, 1, 2]
    # Seed 0 was there before.
    assert sorted(store.read(path).together for path in paths) == [[], [1, 2], [1, 2]]
    assert main([*sweep, "--seeds", "0,1,2", "--together"]) == 0
    assert "1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize("other", [("--budget", "1h"), ("--devices", "2")])
def test_what_does_not_go_together_is_one_sentence(other, capsys, monkeypatch):
    monkeypatch.setattr("ssm_bench.sweep.workers.host_devices", lambda: 2)
    assert main(["sweep", "--together", "--preset", "budget", *other]) == 2
    assert capsys.readouterr().err.startswith(f"error: {'--budget' if '--budget' in other else '--together'} ")
