"""FFT convolutions against a double loop."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from ssm_bench.ops import bidirectional_conv, causal_conv, convolution

from . import oracles

# A single-precision FFT of a few hundred points, and a double-precision one.
FLOAT32 = 2e-6
FLOAT64 = 1e-13


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 7, 16]),
    taps=st.sampled_from([1, 5, 20]),
    channels=st.sampled_from([0, 2]),
)
def test_values(seed, length, taps, channels):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(2, length, 3)).astype(np.float32)
    forward, backward = rng.normal(size=(2, max(channels, 1), 3, taps)).astype(np.float32)
    shape = (channels, 3, taps) if channels else (3, taps)
    causal = jax.jit(causal_conv)(u, forward.reshape(shape))
    both = jax.jit(bidirectional_conv)(u, forward.reshape(shape), backward.reshape(shape))
    assert causal.shape == both.shape == ((channels, 2, length, 3) if channels else (2, length, 3))
    expected = [oracles.convolution(u, f) for f in forward]
    assert oracles.relative_error(causal, expected if channels else expected[0]) < FLOAT32
    expected = [oracles.convolution(u, f, b) for f, b in zip(forward, backward, strict=True)]
    assert oracles.relative_error(both, expected if channels else expected[0]) < FLOAT32


def test_double_precision(x64):
    rng = np.random.default_rng(0)
    u, forward, backward = rng.normal(size=(1, 29, 2)), rng.normal(size=(2, 29)), rng.normal(size=(2, 29))
    y = jax.jit(bidirectional_conv)(u, forward, backward)
    assert oracles.relative_error(y, oracles.convolution(u, forward, backward)) < FLOAT64


def test_gradients(x64):
    rng = np.random.default_rng(1)
    arguments = rng.normal(size=(1, 6, 2)), rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    check_grads(jax.jit(bidirectional_conv), arguments, order=1, modes=["rev"])
    check_grads(jax.jit(causal_conv), arguments[:2], order=1, modes=["rev"])


def test_gradients_of_several_kernels_and_many_sequences(x64):
    # More sequences than are added up one by one, and taps so few that most of the circle is output.
    rng = np.random.default_rng(2)
    for batch, taps in ((3, 2), (33, 5)):
        arguments = rng.normal(size=(batch, 5, 2)), rng.normal(size=(2, 2, taps))
        check_grads(jax.jit(causal_conv), arguments, order=1, modes=["rev"])


def test_low_precision_inputs_are_transformed_in_single_precision():
    y = causal_conv(jnp.ones((1, 512, 1), jnp.bfloat16), jnp.ones((1, 512), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    # In bfloat16, 256 + 1 is 256.
    assert y[0, -1, 0] == 512


def test_transforms_have_even_sizes_of_small_factors():
    for size in range(1, 5000):
        found = rest = convolution._fast_size(size)
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        assert found % 8 == 0 and rest == 1 and size <= found < 1.3 * size + 8


def test_transforms_of_accelerators_have_powers_of_two(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    sizes = {size: convolution._fast_size(size) for size in range(1, 5000)}
    assert all(size <= found <= 2 * size and found.bit_count() == 1 < found for size, found in sizes.items())
    u, kernel = jax.random.normal(jax.random.key(0), (2, 37, 3)), jax.random.normal(jax.random.key(1), (3, 37))
    padded = causal_conv(u, kernel)
    monkeypatch.undo()
    np.testing.assert_allclose(padded, causal_conv(u, kernel), atol=FLOAT32 * np.abs(padded).max())
