"""Kernels of dense state space models against the recurrence in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.ops import dense_kernel, discretize_dense, dplr_kernel, hippo_dplr, hippo_legs

from . import oracles

# float32 powers by doubling; HiPPO-LegS is far from normal, so that its states grow before they decay.
FLOAT32 = 1e-4
# Dense float64 linear algebra, a few hundred powers.
FLOAT64 = 1e-10

kernel_of = jax.jit(dense_kernel, static_argnames="length")


def loop(A, B, C, dt, length):
    """C A_bar^k B_bar, step by step."""
    A, B, C, dt = (np.asarray(x, np.float64) for x in (A, B, C, dt))
    kernel = np.zeros((*C.shape[:2], length))
    for i, step in enumerate(dt):
        inverse = np.linalg.inv(np.eye(len(A)) - step / 2 * A)
        state = inverse @ B * step
        for k in range(length):
            kernel[:, i, k] = C[:, i] @ state
            state = inverse @ (state + step / 2 * A @ state)
    return kernel


def random_system(seed, n, channels=2, h=3, dt=0.1, dtype=np.float64):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    # The symmetric part is negative: no state can grow.
    A = A - A.T - 0.1 * A @ A.T / n
    system = A, rng.normal(size=n), rng.normal(size=(channels, h, n)), dt * rng.uniform(0.5, 1, h)
    return tuple(x.astype(dtype) for x in system)


def legs_system(n, dt, dtype=np.float32):
    A, B = hippo_legs(n)
    C = np.random.default_rng(0).normal(size=(1, len(dt), n))
    return tuple(np.asarray(x, dtype) for x in (A, B, C, dt))


@settings(max_examples=5)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 2, 3, 17, 64]),
    dt=st.sampled_from([1.0, 1e-2, 1e-4]),
)
def test_any_length_and_step(seed, length, dt):
    system = random_system(seed, 4, dt=dt, dtype=np.float32)
    kernel = kernel_of(*system, length=length)
    assert kernel.shape == (2, 3, length) and kernel.dtype == jnp.float32
    assert oracles.relative_error(kernel, loop(*system, length)) < FLOAT32


@pytest.mark.parametrize("length", [33, 256])
def test_loop_in_double_precision(x64, length):
    for system in (random_system(1, 5), legs_system(16, np.array([1e-3, 1e-1]), np.float64)):
        assert oracles.relative_error(kernel_of(*system, length=length), loop(*system, length)) < FLOAT64


def test_long_kernels_of_hippo():
    system = legs_system(16, np.array([1e-4, 1e-2, 1e-1]))
    kernel, expected = kernel_of(*system, length=4096), loop(*system, 4096)
    for i in range(3):
        assert oracles.relative_error(kernel[:, i], expected[:, i]) < FLOAT32


def test_the_same_system_as_diagonal_plus_low_rank(x64):
    """HiPPO-LegS in the basis of S4."""
    n, dt = 8, np.array([0.05])
    A, B = hippo_legs(n)
    Lambda, P, inputs = hippo_dplr("legs", n)
    # The output that reads the input coefficients themselves: the same in every basis.
    expected = kernel_of(A, B, B[None, None], dt, length=40)
    found = dplr_kernel(Lambda[None], P[:, None], inputs[None], inputs.conj()[None, None], dt, 40)
    assert oracles.relative_error(found, expected) < FLOAT64


def test_gradients(x64):
    system = random_system(2, 3, channels=1, h=2)

    def plain(A, B, C, dt):
        excess, inputs = discretize_dense(A, B, dt)
        state, taps = inputs, []
        for _ in range(7):
            taps.append(jnp.einsum("chn,hn->ch", C, state))
            state = state + jnp.einsum("hnm,hm->hn", excess, state)
        return jnp.stack(taps, -1)

    def gradients(function):
        return jax.jit(jax.grad(lambda *x: jnp.sum(jnp.sin(3 * function(*x))), argnums=range(4)))(*system)

    for found, expected in zip(gradients(lambda *x: dense_kernel(*x, 7)), gradients(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("A", np.ones((4, 5)), r"A must be \(n, n\), got shape \(4, 5\)"),
        ("B", np.ones(5), r"B must have shape \(4,\)"),
        ("C", np.ones((3, 4)), r"C must be \(channels, h, n\) with h = 3 as in dt and n = 4"),
        ("length", 0, "length must be at least 1, got 0"),
    ],
)
def test_shapes_that_do_not_fit(name, array, message):
    arguments = dict(zip("ABC", random_system(3, 4), strict=False)) | {"dt": np.ones(3), "length": 8, name: array}
    with pytest.raises(ValueError, match=message):
        dense_kernel(**arguments)
