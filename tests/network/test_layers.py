"""Layers that are computed otherwise than they are written."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench.network.layers import Linear, side_by_side

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
