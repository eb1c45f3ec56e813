"""Diagonal kernels against the authors' arrays and against float64 powers."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import causal_conv, diagonal_kernel, linear_recurrence

from . import oracles

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden kernels are float32 themselves.
PARITY = 1e-5
# float32 products of accurate powers: one rounding per level of doubling.
FLOAT32 = 2e-6
# The logarithm of a is itself rounded: 6e-8 of a phase up to pi, a hundred times.
ROUNDED_PHASE = 2e-5

kernel_of = jax.jit(diagonal_kernel, static_argnames=("length", "discretization"))


@pytest.mark.parametrize(
    ("name", "discretization"),
    [
        ("s4d_kernel_zoh_lin", "zoh"),
        ("s4d_kernel_zoh_legs", "zoh"),
        ("s4d_kernel_bilinear_inv", "bilinear"),
        ("dss_kernel_lin", "dss"),
    ],
)
def test_authors_kernels(name, discretization):
    golden = np.load(GOLDEN / f"{name}.npz")
    parameters = [golden[key] for key in ("Lambda", "B", "C", "dt")]
    kernel = kernel_of(*parameters, golden["K"].shape[-1], discretization=discretization)
    assert oracles.relative_error(kernel, golden["K"]) < PARITY


def random_system(seed, channels=2, h=3, n=4, log_dt=-2.0):
    rng = np.random.default_rng(seed)
    complex_normal = lambda *shape: rng.normal(size=shape) + 1j * rng.normal(size=shape)  # noqa: E731
    Lambda = -rng.uniform(0.1, 1.0, (h, n)) + 1j * rng.uniform(-30, 30, (h, n))
    return Lambda, complex_normal(h, n), complex_normal(channels, h, n), 10**log_dt * rng.uniform(0.5, 1, h)


def plain_kernel(Lambda, B, C, dt, length, discretization):
    z = Lambda * dt[:, None]
    if discretization == "zoh":
        a, gain = np.exp(z), np.expm1(z) / Lambda
    else:
        a, gain = (1 + z / 2) / (1 - z / 2), dt[:, None] / (1 - z / 2)
    powers = a[..., None] ** np.arange(length)
    return 2 * np.einsum("chn,hnl->chl", C * B * gain, powers).real


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 2, 17, 100]),
    log_dt=st.sampled_from([-1.0, -2.0, -4.0]),
    discretization=st.sampled_from(["zoh", "bilinear"]),
)
def test_any_length_and_step(seed, length, log_dt, discretization):
    system = random_system(seed, log_dt=log_dt)
    single = [np.asarray(x, np.complex64 if np.iscomplexobj(x) else np.float32) for x in system]
    kernel = kernel_of(*single, length, discretization=discretization)
    assert kernel.shape == (2, 3, length)
    exact = [x.astype(np.complex128 if np.iscomplexobj(x) else np.float64) for x in single]
    assert oracles.relative_error(kernel, plain_kernel(*exact, length, discretization)) < ROUNDED_PHASE


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_long_kernels_stay_accurate(discretization):
    """Slow modes over 16384 steps, where exp(k z) in float32 is wrong by 7e-4.

    Steps that are powers of two leave the powers as the only source of error.
    """
    rng = np.random.default_rng(0)
    Lambda = (-rng.uniform(0.5, 1, (2, 8)) + 1j * rng.uniform(-3000, 3000, (2, 8))).astype(np.complex64)
    B, C = np.ones((2, 8), np.complex64), (rng.normal(size=(1, 2, 8)) + 0j).astype(np.complex64)
    dt = np.full(2, 2.0**-13, np.float32)
    kernel = kernel_of(Lambda, B, C, dt, 16384, discretization=discretization)
    exact = plain_kernel(Lambda.astype(np.complex128), B, C, dt.astype(np.float64), 16384, discretization)
    # bilinear: the rounding of log a, 6e-8 of a phase up to 0.4, over the memory of 1e4 steps.
    assert oracles.relative_error(kernel, exact) < (FLOAT32 if discretization == "zoh" else 2e-4)


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_convolution_is_recurrence(x64, discretization):
    Lambda, B, C, dt = (jnp.asarray(x) for x in random_system(1, channels=1))
    u = np.random.default_rng(2).normal(size=(2, 20, 3))
    kernel = kernel_of(Lambda, B, C, dt, 20, discretization=discretization)
    z = Lambda * dt[:, None]
    log_a = z if discretization == "zoh" else jnp.log((1 + z / 2) / (1 - z / 2))
    gain = (jnp.exp(z) - 1) / Lambda if discretization == "zoh" else dt[:, None] / (1 - z / 2)
    states = linear_recurrence(None, gain * B * u[..., None], log_a=log_a)
    recurrent = 2 * jnp.einsum("hn,blhn->blh", C[0], states).real
    np.testing.assert_allclose(causal_conv(u, kernel[0]), recurrent, rtol=1e-10, atol=1e-10)


def test_softmax_kernel_of_growing_modes(x64):
    """DSS: rows of exp(k z) that sum to one, over Lambda; growing modes must not overflow."""
    Lambda = np.array([[-0.5 + 2j, 0.5 + 1j, 90.0 + 5j]])
    W, dt, length = np.array([[[1 + 2j, 3 - 1j, -2 + 1j]]]), np.array([0.1]), 200
    k = np.arange(length)
    exponent = (Lambda * dt)[0][:, None] * k
    rows = np.exp(exponent - exponent.real.max(1, keepdims=True))
    expected = ((W[0, 0] / Lambda[0])[:, None] * rows / rows.sum(1, keepdims=True)).sum(0).real
    kernel = kernel_of(jnp.asarray(Lambda), jnp.ones((1, 3)), jnp.asarray(W), dt, length, discretization="dss")
    # The authors' guard against division by zero moves the kernel by about 1e-7.
    np.testing.assert_allclose(kernel[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_gradients(x64):
    Lambda, B, C, dt = (jnp.asarray(x) for x in random_system(3))

    def loss(function):
        return lambda *arguments: jnp.sum(jnp.sin(function(*arguments)))

    def plain(Lambda, B, C, dt):
        z = Lambda * dt[:, None]
        powers = jnp.exp(z[..., None] * jnp.arange(11))
        return 2 * jnp.einsum("chn,hnl->chl", C * B * (jnp.exp(z) - 1) / Lambda, powers).real

    ours = jax.jit(jax.grad(loss(lambda *x: diagonal_kernel(*x, 11, discretization="zoh")), argnums=(0, 1, 2, 3)))
    for found, expected in zip(
        ours(Lambda, B, C, dt), jax.jit(jax.grad(loss(plain), (0, 1, 2, 3)))(Lambda, B, C, dt), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_unknown_discretization():
    with pytest.raises(UserError, match=r"'euler'.*bilinear, dss, zoh"):
        diagonal_kernel(*random_system(0), 4, discretization="euler")
