"""Fourier mixing as a mixer: the sum over all positions and channels, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.fourier import Fourier

WIDTH, LENGTHS = 6, (13, 8)
# Sums of 78 terms of size 1, in float32.
FLOAT32 = 2e-5


def small():
    return Fourier(WIDTH, rngs=nnx.Rngs(0))


def loop(x):
    """Every output by itself, for one sequence (n, h)."""
    n, h = x.shape
    y = np.zeros((n, h))
    for k, c in np.ndindex(n, h):
        for j, d in np.ndindex(n, h):
            y[k, c] += x[j, d] * np.cos(2 * np.pi * (j * k / n + d * c / h))
    return y


def test_it_is_the_sum_at_the_true_length():
    x = np.asarray(jax.random.normal(jax.random.key(1), (2, LENGTHS[0], WIDTH)))
    mask = jnp.arange(LENGTHS[0]) < jnp.array(LENGTHS)[:, None]
    y = jax.jit(small())(x, mask)
    for row, n in enumerate(LENGTHS):
        np.testing.assert_allclose(y[row, :n], loop(x[row, :n].astype(float)), rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_allclose(small()(x)[0], y[0], rtol=FLOAT32, atol=FLOAT32)


def test_there_is_nothing_to_train_and_nothing_to_carry():
    mixer = small()
    assert not jax.tree.leaves(nnx.state(mixer))
    assert mixer.state_size is None and not mixer.causal


def test_more_positions_than_32_bits_hold_squares_of():
    x, mask = jax.ShapeDtypeStruct((1, 70_000, WIDTH), jnp.float32), jax.ShapeDtypeStruct((1, 70_000), bool)
    with pytest.raises(UserError, match="at most 65536 positions with a mask; got 70000"):
        jax.eval_shape(small(), x, mask)
