"""Nyström attention as a mixer: projections, heads and the convolution of the values, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.nystrom import Nystrom
from tests.ops.test_nystrom import oracle

LENGTH, WIDTH = 17, 8
# float32 through softmax and an inverse that enlarges roundings by its norm, about 20 here.
FLOAT32 = 5e-5


def small(**options):
    return Nystrom(WIDTH, **{"heads": 2, "landmarks": 4, "taps": 5, "rngs": nnx.Rngs(0)} | options)


def inputs():
    return np.asarray(jax.random.normal(jax.random.key(1), (2, LENGTH, WIDTH)))


def loop(mixer, x):
    """One sequence (n, h)."""

    def through(linear, x):
        bias = 0 if linear.bias is None else np.asarray(linear.bias[...], float)
        return x @ np.asarray(linear.kernel[...], float) + bias

    values = through(mixer.values, x)
    q, k, v = (y.reshape(len(x), mixer.heads, -1) for y in (through(mixer.query, x), through(mixer.keys, x), values))
    y = oracle(q, k, v, landmarks=mixer.landmarks, steps=mixer.inverse_steps)
    if mixer.kernel is not None:
        kernel = np.asarray(mixer.kernel[...], float)
        middle = kernel.shape[1] // 2
        for i, head, tap in np.ndindex(len(x), *kernel.shape):
            if 0 <= i + tap - middle < len(x):
                y[i, head] += kernel[head, tap] * v[i + tap - middle, head]
    return through(mixer.out, y.reshape(len(x), -1))


@pytest.mark.parametrize(
    "options",
    [{}, {"taps": 0, "width": 12, "bias": False}, {"taps": 41, "landmarks": 9, "inverse_steps": 2}],
)
def test_it_is_the_loop_at_the_true_length(options):
    mixer, lengths = small(**options), (LENGTH, 7)
    # So that the values in the padding are not zero.
    for linear in (mixer.query, mixer.values, mixer.out):
        if linear.bias is not None:
            linear.bias[...] = jnp.sin(1.0 + jnp.arange(linear.bias[...].size))
    y = jax.jit(mixer)(inputs(), jnp.arange(LENGTH) < jnp.array(lengths)[:, None])
    for row, n in enumerate(lengths):
        expected = loop(mixer, inputs()[row, :n].astype(float))
        np.testing.assert_allclose(y[row, :n], expected, rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_allclose(jax.jit(mixer)(inputs())[0], y[0], rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 8; got 3"),
        ({"width": 7}, "heads must divide the width 7; got 2"),
        ({"landmarks": 0}, "landmarks must be at least 1; got 0"),
        ({"inverse_steps": 0}, "inverse_steps must lie in 1..[0-9]+; got 0"),
        ({"taps": 4}, "taps must be odd, or 0 for no convolution; got 4"),
        ({"taps": -1}, "got -1"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
