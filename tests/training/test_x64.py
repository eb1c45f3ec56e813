"""Every model trains under JAX_ENABLE_X64: the types of a step fit together, and states stay what they were."""

import jax
import jax.numpy as jnp
import pytest

from ssm_bench.config import experiment_names
from ssm_bench.data import load
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training.run import make_program
from ssm_bench.training.sources import Resident

#: One model of each pair of mixer and scaffold.
MODELS = sorted(
    {(c.model.mixer, c.model.scaffold): n for n in experiment_names() for c in [resolve(n, "text")]}.values()
)


@pytest.fixture(scope="module")
def dataset():
    return load("text", data="synthetic", max_length=32, examples=100)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.usefixtures("x64")
def test_steps_and_scores_keep_the_types_of_what_they_change(name, dataset):
    config = resolve(name, "text", preset="quick", data="synthetic", overrides=["--config.task.max_length=32"])
    examples, sizes = jnp.zeros((2, 4), jnp.int32), jnp.zeros(2, jnp.int32)

    def train():
        program = make_program(config, dataset)
        data, state = Resident(dataset, program.placement).data, program.initial_state()
        after, metrics = program._train(state, data, examples, sizes, (32,))
        scores = program._evaluate(state.params, state.stats, data, examples, jnp.ones((2, 4)), 32)
        return state, after, metrics, scores

    # Tracing decides all types; nothing is computed.
    before, after, metrics, scores = jax.eval_shape(train)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), before) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )
    assert metrics.shape == (2, 2) and scores.shape == (3,)
