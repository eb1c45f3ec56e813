"""Layers that are computed otherwise than they are written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.network.layers import SMALL_TABLE, Linear, dropout, kept_with, rows_of, side_by_side

# The same products in another order.
FLOAT64 = 1e-13


def test_maps_side_by_side_are_each_map(x64):
    rngs = nnx.Rngs(0)
    biased, plain = Linear(5, 3, rngs=rngs), Linear(5, 4, bias=False, rngs=rngs)
    assert biased.bias is not None
    biased.bias[...] = jnp.arange(3.0)
    x = jax.random.normal(rngs.params(), (2, 7, 5))
    for found, one in zip(side_by_side(x, biased, plain), (biased, plain), strict=True):
        np.testing.assert_allclose(found, one(x), rtol=FLOAT64, atol=FLOAT64)
    assert [y.dtype for y in side_by_side(x.astype(jnp.bfloat16), biased, plain)] == [jnp.bfloat16] * 2


@pytest.mark.parametrize(("rate", "tied"), [(0.1, False), (0.7, False), (0.3, True)])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate, tied):
    y = np.asarray(dropout(jnp.ones((40, 30, 50)), rate, jax.random.key(0), tied=tied))
    draws = y[:, 0] if tied else y
    # Four standard errors of a share.
    error = 4 * (rate * (1 - rate) / draws.size) ** 0.5
    assert abs((draws == 0).mean() - rate) < error
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)
    assert (y == y[:, :1]).all() == tied


@pytest.mark.parametrize("rows", [5, SMALL_TABLE + 1])
def test_the_gradient_of_rows_is_that_of_indexing(rows, x64):
    rng = np.random.default_rng(0)
    table, weights = jnp.asarray(rng.normal(size=(rows, 3))), rng.normal(size=(2, 7, 3))
    tokens = jnp.asarray(rng.integers(0, rows, size=(2, 7)))
    found = jax.jit(jax.grad(lambda table: jnp.sum(weights * rows_of(table, tokens))))(table)
    expected = jax.grad(lambda table: jnp.sum(weights * table[tokens]))(table)
    np.testing.assert_allclose(found, expected, rtol=FLOAT64, atol=FLOAT64)


def test_what_is_kept_with_a_function_of_it_has_the_same_gradients(x64):
    def activated(y, key):
        return dropout(jnp.tanh(y), 0.5, key)

    def loss(x, key, both):
        y, g = both(activated, jnp.sin(x), key)
        return jnp.sum(y * g + g)

    x, keys = jax.random.normal(jax.random.key(0), (3, 2, 4, 5)), jax.random.split(jax.random.key(1), 3)
    found, expected = (
        jax.jit(jax.vmap(jax.value_and_grad(lambda x, key, both=both: loss(x, key, both))))(x, keys)
        for both in (kept_with, lambda function, y, key: (y, function(y, key)))
    )
    for ours, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=FLOAT64, atol=FLOAT64)
