"""Batch statistics recomputed before a validation: `train.norm_batches`."""

import jax
import numpy as np
import pytest

from ssm_bench.sweep.recipe import resolve
from ssm_bench.training.run import make_trainer
from tests.training.test_loop import config_of, run_in

#: A mean over a few batches in another order of summation, in float32.
ROUNDING = 1e-5

#: Two programs of one formula, whose sums the compiler orders in two ways.
TOGETHER = 1e-4

pytestmark = pytest.mark.usefixtures("shared_programs")

S5 = {"model": "s5", "task": "text"}
SIZES = ("--config.mixer.state_size=4", "--config.mixer.blocks=1")


def trainer_of(*overrides, seeds=(), **choices):
    config, dataset = config_of(*SIZES, *overrides, **S5, **choices)
    return make_trainer(config, dataset, seeds=seeds)


def test_statistics_are_the_mean_over_single_batches():
    trainer = trainer_of("--config.train.norm_batches=3")
    state = trainer.program.initial_state()
    found = trainer.statistics(state)
    batches, sizes = trainer.order.batches(0, 3)
    single = [
        trainer.program.statistics(
            state.params, state.stats, trainer.source.data, batches[i : i + 1], sizes[i : i + 1], trainer.padded
        )
        for i in range(3)
    ]
    expected = jax.tree.map(lambda *values: np.mean(values, 0), *single)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=ROUNDING, atol=ROUNDING), found, expected)
    assert not np.allclose(jax.tree.leaves(found)[0], jax.tree.leaves(state.stats)[0])


def test_statistics_normalize_the_batch_they_come_from():
    """With the statistics of one batch, evaluation and training normalize that batch alike."""
    trainer = trainer_of("--config.train.norm_batches=1", "--config.model.dropout=0.0")
    program, state = trainer.program, trainer.program.initial_state()
    stats = trainer.statistics(state)
    batches, sizes = trainer.order.batches(0, 1)
    examples, length = batches[0], trainer.padded[sizes[0]]
    trained, _ = program.logits(state.params, state.stats, trainer.source.data, examples, length, train=True)
    scored, _ = program.logits(state.params, stats, trainer.source.data, examples, length, train=False)
    np.testing.assert_allclose(scored, trained, rtol=ROUNDING, atol=ROUNDING)


def test_zero_means_the_running_averages():
    trainer = trainer_of()
    state = trainer.program.initial_state()
    assert trainer.statistics(state) is state.stats


def test_models_with_batch_norm_recompute_them_by_default_but_not_under_the_published_habits():
    assert resolve("s5", "text").train.norm_batches == 50
    assert resolve("s5", "text", protocol="paper").train.norm_batches == 0
    assert resolve("transformer", "text").train.norm_batches == 0
    assert resolve("s5", "text", preset="quick").train.norm_batches == 0
    assert resolve("s5", "text", preset="paper", overrides=("--config.train.norm_batches=0",)).train.norm_batches == 0


def test_training_does_not_depend_on_them(tmp_path):
    losses = []
    for count in (0, 2):
        config, dataset = config_of(*SIZES, f"--config.train.norm_batches={count}", **S5)
        record = run_in(tmp_path / str(count), config, dataset)
        losses.append([point.train_loss for point in record.curve])
    assert losses[0] == losses[1]


def test_seeds_together_have_the_statistics_of_each_alone():
    override = "--config.train.norm_batches=2"
    both = trainer_of(override, seeds=(0, 1))
    found = both.statistics(both.program.initial_state())
    alone = trainer_of(override)  # seed 1
    expected = alone.statistics(alone.program.initial_state())
    of_seed = jax.tree.map(lambda array: array[1], found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=TOGETHER, atol=TOGETHER), of_seed, expected)
