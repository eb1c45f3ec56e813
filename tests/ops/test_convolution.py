"""FFT convolutions against a double loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from ssm_bench.ops import bidirectional_conv, causal_conv, convolution

from . import oracles

# A single-precision FFT of a few hundred points, and a double-precision one.
FLOAT32 = 2e-6
FLOAT64 = 1e-13


@pytest.fixture(params=["cpu", "gpu"])
def sizes_of(request, monkeypatch):
    """Computes here in the sizes of that backend."""
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


@pytest.mark.usefixtures("sizes_of")
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.usefixtures("sizes_of")
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


def test_transforms_on_a_cpu_have_even_sizes_of_small_factors():
    for size in range(1, 5000):
        found = rest = convolution.fast_size(size)
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        assert found % 8 == 0 and rest == 1 and size <= found < 1.3 * size + 8


def test_transforms_on_a_gpu_have_powers_of_two_unless_those_are_far(monkeypatch):
    of_cpu = {size: convolution.fast_size(size) for size in range(1, 5000)}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    for size, small_factors in of_cpu.items():
        found = convolution.fast_size(size)
        power = next(2**k for k in range(3, 14) if 2**k >= size)
        assert found == (power if power <= convolution.LARGEST_POWER * size else small_factors)
    # Batches of documents, and the short kernel of H3 over 4,096 steps.
    assert [convolution.fast_size(2 * length) for length in (768, 1024, 1536, 2560)] == [2048, 2048, 4096, 8192]
    assert convolution.fast_size(4096 + 2 * 63) == 4320


@pytest.mark.parametrize("u, kernel", [((2, 8, 4), (5, 8)), ((2, 8), (4, 8)), ((2, 0, 4), (4, 8)), ((2, 8, 4), (4, 0))])
def test_shapes_that_do_not_fit_are_refused(u, kernel):
    with pytest.raises(ValueError, match="must be"):
        causal_conv(jnp.ones(u), jnp.ones(kernel))
    with pytest.raises(ValueError, match="must be"):
        bidirectional_conv(jnp.ones(u), jnp.ones(kernel), jnp.ones(kernel))


def test_kernels_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="of one shape"):
        bidirectional_conv(jnp.ones((2, 8, 4)), jnp.ones((4, 8)), jnp.ones((4, 6)))


@pytest.mark.parametrize("signal", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("taps", ["float32", "float64"])
@pytest.mark.parametrize("conv", [causal_conv, lambda u, k: bidirectional_conv(u, k, k)], ids=["causal", "both"])
def test_gradients_have_the_type_of_what_they_are_of(signal, taps, conv):
    with jax.enable_x64(True):
        u, kernel = jnp.ones((2, 16, 3), signal), jnp.full((3, 16), 0.1, taps)

        def loss(u, k):
            y = conv(u, jnp.exp(k))
            assert y.dtype == u.dtype
            return y.astype(jnp.float64).sum()

        gradients = jax.jit(jax.grad(loss, (0, 1)))
        found = gradients(u, kernel)
        assert [gradient.dtype for gradient in found] == [u.dtype, kernel.dtype]
        exact = gradients(u.astype(jnp.float64), kernel.astype(jnp.float64))
        error = max(float(jnp.finfo(signal).eps), float(jnp.finfo(taps).eps))
        for gradient, expected in zip(found, exact, strict=True):
            np.testing.assert_allclose(gradient.astype(jnp.float64), expected, rtol=40 * error)
