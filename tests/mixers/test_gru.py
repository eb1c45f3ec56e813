"""GRU: its equations as a loop, both directions, and where it starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.mixers.gru import GRU

from . import ssm_checks as checks

# The squashing functions of NumPy and XLA differ in the last digits.
FLOAT64 = 1e-10


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def oracle(cell, x):
    """The outputs of one unit for x (b, l, h), a plain loop in double precision."""
    W, U = np.asarray(cell.input.kernel, np.float64), np.asarray(cell.recurrent, np.float64)
    bias, inner = np.asarray(cell.input.bias, np.float64), np.asarray(cell.recurrent_bias, np.float64)
    n = len(U)
    y = np.zeros((*x.shape[:2], n))
    for row in range(x.shape[0]):
        h = np.zeros(n)
        for t in range(x.shape[1]):
            inputs, states = x[row, t] @ W + bias, h @ U
            reset = sigmoid(inputs[:n] + states[:n])
            update = sigmoid(inputs[n : 2 * n] + states[n : 2 * n])
            candidate = np.tanh(inputs[2 * n :] + reset * (states[2 * n :] + inner))
            h = (1 - update) * candidate + update * h
            y[row, t] = h
    if cell.output is None:
        return y
    return y @ np.asarray(cell.output.kernel, np.float64) + np.asarray(cell.output.bias, np.float64)


def doubled(mixer):
    """The mixer in double precision, its biases no longer zero."""
    rng = np.random.default_rng(0)
    state = nnx.state(mixer, nnx.Param)
    nnx.update(mixer, jax.tree.map(lambda a: jnp.asarray(a + 0.1 * rng.normal(size=a.shape), jnp.float64), state))
    return mixer


@settings(max_examples=4)
@given(
    batch=st.integers(1, 2), length=st.sampled_from([1, 2, 7]), width=st.integers(1, 4), n=st.sampled_from([0, 1, 3])
)
def test_equations(batch, length, width, n):
    x = np.random.default_rng(1).normal(size=(batch, length, width))
    with jax.enable_x64(True):
        mixer = doubled(GRU(width, state_size=n, rngs=nnx.Rngs(0)))
        np.testing.assert_allclose(jax.jit(mixer)(jnp.asarray(x)), oracle(mixer.forward, x), rtol=FLOAT64, atol=FLOAT64)
    assert mixer.state_size == (n or width)


def test_both_directions_are_two_units(x64):
    mixer = doubled(GRU(4, state_size=3, bidirectional=True, rngs=nnx.Rngs(0)))
    x, lengths = np.random.default_rng(1).normal(size=(2, 9, 4)), (9, 4)
    y = jax.jit(mixer)(jnp.asarray(x), jnp.arange(9) < jnp.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        true = x[row : row + 1, :length]
        expected = oracle(mixer.forward, true) + oracle(mixer.backward, true[:, ::-1])[:, ::-1]
        np.testing.assert_allclose(y[row : row + 1, :length], expected, rtol=FLOAT64, atol=FLOAT64)
    assert mixer.state_size == 6


def test_start():
    cell = GRU(6, state_size=5, rngs=nnx.Rngs(0)).forward
    for gate in np.split(np.asarray(cell.recurrent), 3, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(5), atol=1e-5)
    assert {name: role for name, role in checks.roles(cell).items() if name.startswith("recurrent")} == {
        "recurrent": "weight",
        "recurrent_bias": "exempt",
    }


def test_impossible_size():
    with pytest.raises(UserError, match="state_size must be at least 1, or 0 for the width; got -1"):
        GRU(4, state_size=-1, rngs=nnx.Rngs(0))
