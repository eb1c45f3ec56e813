"""Fourier mixing of sequences of different lengths: NumPy's transform of each at its own length, and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import fourier_mixing
from ssm_bench.ops.fourier import LONGEST

# Of the root mean square of the outputs: a few dozen roundings in float32, of angles and sums.
FLOAT32 = 1e-5

WIDTH = 6


def inputs(rows, length, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, length, WIDTH)).astype(np.float32)


def exact(x):
    """One sequence (n, h), in float64."""
    return np.fft.fft2(x.astype(float)).real


def assert_near(actual, desired):
    assert np.abs(actual - desired).max() <= FLOAT32 * np.sqrt(np.square(desired).mean())


# Powers of two, primes, a single position, none, and the longest sequences of the tasks with a class token.
@pytest.mark.parametrize("lengths", [(1,), (2, 1), (64, 61, 48, 1, 0), (4097, 4096, 2049), (16_385, 16_384, 9_973)])
def test_each_example_is_transformed_at_its_own_length(lengths):
    x = inputs(len(lengths), lengths[0])
    junk = np.resize(np.float32([np.nan, np.inf, -1e30]), x.shape)
    true = np.arange(lengths[0]) < np.array(lengths)[:, None]
    padded = np.asarray(jax.jit(fourier_mixing)(np.where(true[..., None], x, junk), jnp.array(lengths)))
    assert np.all(padded[~true] == 0)
    for row, n in enumerate(lengths):
        if n:
            assert_near(padded[row, :n], exact(x[row, :n]))
    assert_near(fourier_mixing(x[:1])[0], exact(x[0]))


def test_angles_of_the_largest_squares_are_as_exact():
    x, n = inputs(1, LONGEST), LONGEST - 15
    assert_near(fourier_mixing(x, jnp.array([n]))[0, :n], exact(x[0, :n]))


def test_it_is_its_own_transpose_and_so_is_its_gradient():
    lengths = (12, 7)
    x, weights = inputs(2, 12), inputs(2, 12, seed=1)
    gradient = jax.grad(lambda x: (fourier_mixing(x, jnp.array(lengths)) * weights).sum())(x)
    for row, n in enumerate(lengths):
        assert_near(gradient[row, :n], exact(weights[row, :n]))
        assert np.all(gradient[row, n:] == 0)


def test_double_precision_stays():
    with jax.enable_x64(True):
        x = inputs(1, 40).astype(float)
        y = fourier_mixing(jnp.asarray(x), jnp.array([23]))
        np.testing.assert_allclose(y[0, :23], exact(x[0, :23]), rtol=0, atol=1e-11)


def test_squares_that_do_not_fit_are_refused():
    x = jax.ShapeDtypeStruct((1, LONGEST + 1, 2), jnp.float32)
    assert jax.eval_shape(fourier_mixing, x).shape == x.shape
    with pytest.raises(ValueError, match="at most 65536 positions; got 65537"):
        jax.eval_shape(fourier_mixing, x, jax.ShapeDtypeStruct((1,), jnp.int32))
