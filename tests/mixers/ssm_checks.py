"""Checks of state space mixers for options that the contract of every mixer does not try.

`tests/network/test_contract.py` tests padding, causality, steps in double precision and gradients of every mixer.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ssm_bench.network.parameters import role_of
from ssm_bench.network.scaffold import run_part

BATCH, LENGTH, WIDTH = 2, 21, 6

# Sums of a few hundred products, in the scan and in the FFT alike.
FLOAT32 = 1e-5
FLOAT64 = 1e-10


def random_inputs(seed=0):
    return jax.random.normal(jax.random.key(seed), (BATCH, LENGTH, WIDTH))


def roles(mixer):
    """The role of each parameter by name; all are real."""
    state = nnx.state(mixer, nnx.Param)
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(state))
    return {name: role_of(type(variable)) for name, variable in state.items()}


def check_steps_agree(mixer, tolerance):
    """Step mode over a sequence gives what the whole-sequence mode gives."""
    assert mixer.causal
    x = random_inputs()
    whole = jax.jit(mixer)(x)

    def step(state, x_t):
        y_t, state = mixer.step(x_t, state)
        return state, y_t

    state = mixer.initial_state(BATCH)
    assert sum(2 * leaf[0].size for leaf in jax.tree.leaves(state)) == mixer.state_size
    last, stepped = jax.lax.scan(step, state, jnp.swapaxes(x, 0, 1))
    assert jax.tree.map(lambda leaf: leaf.dtype, last) == jax.tree.map(lambda leaf: leaf.dtype, state)
    np.testing.assert_allclose(
        jnp.swapaxes(stepped, 0, 1), whole, rtol=tolerance, atol=tolerance * jnp.abs(whole).max()
    )


def check_padding(mixer):
    """What stands at padded positions reaches nothing, and as little changes with the amount of padding."""
    x, lengths = random_inputs(), jnp.array([5, 13])
    mask = jnp.arange(LENGTH) < lengths[:, None]
    run = jax.jit(partial(run_part, mixer))
    y, other = run(x, mask), run(jnp.where(mask[..., None], x, 1e3), mask)
    np.testing.assert_array_equal(jnp.where(mask[..., None], y, 0), jnp.where(mask[..., None], other, 0))
    for row, length in enumerate(lengths):
        alone = jax.jit(mixer)(x[row : row + 1, :length])
        np.testing.assert_allclose(y[row, :length], alone[0], rtol=FLOAT32, atol=FLOAT32 * jnp.abs(alone).max())


def check_gradients(mixer):
    """Every parameter has a finite gradient that is not zero."""
    graph, state = nnx.split(mixer)

    def loss(state):
        return jnp.mean(nnx.merge(graph, state)(random_inputs()) ** 2)

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(state)):
        assert jnp.isfinite(leaf).all() and jnp.abs(leaf).max() > 0


def trained(mixer):
    """The parameters after 100 steps at a rate of 0.01 towards running sums of the inputs, which must come closer."""
    graph, params = nnx.split(mixer)
    optimizer = optax.adam(1e-2)
    x = random_inputs()

    @jax.jit
    def train(params):
        def loss(params):
            return jnp.mean((nnx.merge(graph, params)(x) - jnp.cumsum(x, axis=1) / 10) ** 2)

        def step(carry, _):
            params, state = carry
            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=100)

    (params, _), losses = train(params)
    assert jnp.isfinite(losses).all() and losses[-1] < losses[0] / 2
    return params
