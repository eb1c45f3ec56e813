"""Gradient accumulation: microbatches give the step of the undivided batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.training.run import make_trainer

from .test_loop import config_of, run_in

#: Float32 sums in another order: relative to the largest gradient, and of losses over twenty steps of training.
ROUNDING, AFTER_TRAINING = 1e-5, 1e-4

#: Masks would differ, and batch statistics be of other batches.
ALIKE = ("--config.model.dropout=0.0", "--config.model.norm=layer")
LAYER_NORM = ALIKE[1:]


def gradients(trainer):
    """Gradients, loss and accuracy of a batch at the start."""
    state = trainer.program.initial_state()
    examples, sizes = trainer.order.batches(1, 1)
    data, places = trainer.source.take(examples)
    compute = jax.jit(trainer.program.gradients, static_argnums=1)
    found, _, metrics = compute(data, trainer.padded[sizes[0]], state, places[0])
    return jax.tree.leaves(found), metrics


@pytest.mark.parametrize(
    ("model", "task"),
    [("transformer", "text"), ("lru", "retrieval")],
)
def test_the_gradients_of_microbatches_average_to_those_of_the_batch(model, task):
    once, divided = (
        gradients(make_trainer(*config_of(f"--config.train.accumulate={n}", *ALIKE, model=model, task=task)))
        for n in (1, 4)
    )
    scale = max(float(jnp.abs(leaf).max()) for leaf in once[0])
    for one, other in zip(once[0], divided[0], strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=ROUNDING * scale)
    np.testing.assert_allclose(divided[1], once[1], rtol=ROUNDING)


def test_a_run_with_microbatches_learns_as_without_and_has_another_name(tmp_path):
    records = []
    for n in (1, 2):
        config, dataset = config_of(f"--config.train.accumulate={n}", *ALIKE, model="gru")
        records.append(run_in(tmp_path, config, dataset))
    one, other = records
    assert one.status == other.status == "ok" and one.config_hash != other.config_hash
    for point, expected in zip(other.curve, one.curve, strict=True):
        assert point.train_loss == pytest.approx(expected.train_loss, rel=AFTER_TRAINING)
        assert point.validation_loss == pytest.approx(expected.validation_loss, rel=AFTER_TRAINING)


def test_every_microbatch_has_dropout_of_its_own():
    trainer = make_trainer(
        *config_of("--config.train.accumulate=2", *LAYER_NORM, "--config.model.dropout=0.5", model="gru")
    )
    program, state = trainer.program, trainer.program.initial_state()
    data, places = trainer.source.take(trainer.order.batches(0, 1)[0])
    # One example in every place: only the masks differ.
    same = jnp.broadcast_to(places[0, 0], places[0].shape)
    key, length = jax.random.fold_in(jax.random.key(1), 0), trainer.padded[-1]
    at_once = jax.jit(program._gradients_at_once, static_argnums=2)
    losses = [float(at_once(jax.random.fold_in(key, i), data, length, state, same[::2])[2][0]) for i in (0, 1)]
    assert losses[0] != losses[1]
    divided = jax.jit(program.gradients, static_argnums=1)(data, length, state, same)
    assert float(divided[2][0]) == pytest.approx(np.mean(losses), rel=ROUNDING)


@pytest.mark.parametrize(
    ("model", "overrides", "sentence"),
    [
        ("s5", ("--config.train.accumulate=2",), "must be 1 with model.norm=batch, whose statistics cover the whole"),
        ("lru", ("--config.train.accumulate=3", *LAYER_NORM), "must divide train.batch_size, here 16: it can be 1, 2,"),
    ],
)
def test_what_has_no_microbatches_is_one_sentence(command, model, overrides, sentence):
    code, _, errors = command("train", "--model", model, "--task", "text", "--preset", "quick", *overrides)
    assert code == 2
    assert errors.startswith(f"error: --config.train.accumulate {sentence}") and errors.count("\n") == 1
