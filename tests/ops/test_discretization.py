"""Discretizations against float64 formulas, at ordinary and at tiny steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import discretization_rule, discretize_bilinear, discretize_zoh

# A handful of float32 roundings.
FLOAT32 = 2e-6


def series(z, order):
    """The sum of z^k / (k + order)!, which is exp(z) without its first terms: exact in float64 for |z| <= 1."""
    total, term = 0, 1 / np.prod(np.arange(1, order + 1), dtype=float)
    for k in range(25):
        total, term = total + term, term * z / (k + order + 1)
    return total


spectra = st.tuples(st.floats(-6, 0), st.floats(-3, 1.5), st.floats(-3, 3))


@settings(max_examples=100, deadline=None)
@given(spectra)
def test_zoh_gain_and_its_derivative(numbers):
    """dt, Re and Im span the range of S5 and S4D, down to products of 1e-9."""
    log_dt, log_decay, imag = numbers
    dt = np.float32(10**log_dt)
    Lambda = np.complex64(-(10**log_decay) + 1j * imag)
    z = complex(Lambda) * float(dt)
    assume(abs(z) <= 1)
    log_a, gain = discretize_zoh(Lambda, dt)
    assert abs(log_a - z) <= FLOAT32 * abs(z)
    assert abs(gain / (dt * series(z, 1)) - 1) < FLOAT32
    # d gain / d Lambda = dt^2 (phi1(z) - phi2(z)), the difference of exact series.
    slope = jax.grad(lambda Lambda: discretize_zoh(Lambda, dt)[1], holomorphic=True)(Lambda)
    expected = float(dt) ** 2 * (series(z, 1) - series(z, 2))
    assert abs(slope / expected - 1) < FLOAT32 if abs(expected) > 1e-37 else True


def test_zoh_derivative_of_large_arguments(x64):
    for z in (0.49 + 0.05j, 0.51 - 0.1j, -3 + 2j, -20 + 30j):
        slope = jax.grad(lambda z: discretize_zoh(z, 1.0)[1], holomorphic=True)(jnp.asarray(z))
        np.testing.assert_allclose(slope, (np.exp(z) - np.expm1(z) / z) / z, rtol=1e-11)


def test_zoh_at_zero():
    log_a, gain = discretize_zoh(jnp.zeros(1, jnp.complex64), jnp.array([0.1]))
    assert log_a[0] == 0 and gain[0] == pytest.approx(0.1)
    slope = jax.grad(lambda x: jnp.real(discretize_zoh(x, 0.1)[1]))(0j)
    assert np.asarray(slope) == pytest.approx(0.005)


@settings(max_examples=100, deadline=None)
@given(spectra)
def test_bilinear(numbers):
    log_dt, log_decay, imag = numbers
    dt = np.float32(10**log_dt)
    Lambda = np.complex64(-(10**log_decay) + 1j * 30 * imag)
    z = complex(Lambda) * float(dt)
    assume(abs(1 + z / 2) > 0.1)  # near a = 0 the logarithm is as ill-conditioned as it is harmless
    log_a, gain = discretize_bilinear(Lambda, dt)
    expected = np.log((1 + z / 2) / (1 - z / 2)) if abs(z) > 1e-3 else z + z**3 / 12
    assert abs(gain / (dt / (1 - z / 2)) - 1) < FLOAT32
    # Decay and phase separately: a slow decay must not drown in the rounding of its phase.
    np.testing.assert_allclose(np.real(log_a), np.real(expected), rtol=1e-5)
    # Phases of pi and -pi are one.
    difference = np.angle(np.exp(1j * (np.imag(log_a) - np.imag(expected))))
    assert abs(difference) <= FLOAT32 * abs(np.imag(expected)) + 1e-30  # smaller ones XLA flushes to zero


@pytest.mark.parametrize("z", [-2, -2 + 1e-4, -2 - 1e-3j, -1.2, -0.7, -2.9 + 0.3j, -40, -1e6])
def test_bilinear_where_a_vanishes(z):
    """a passes through 0 at z = -2, where it has no logarithm: values stay exact, and gradients finite."""

    def a(real):
        return jnp.exp(discretize_bilinear(jax.lax.complex(real, jnp.float32(np.imag(z))), jnp.float32(1))[0])

    real = jnp.float32(np.real(z))
    w = (float(real) + 1j * float(np.float32(np.imag(z)))) / 2
    assert abs(a(real) - (1 + w) / (1 - w)) < FLOAT32
    slope = jax.jvp(a, (real,), (jnp.float32(1),))[1]
    assert np.isfinite(slope)
    # At 0 itself the slope is lost, since nothing comes back through the logarithm.
    assert abs(slope - 1 / (1 - w) ** 2) < 1e-5 or z == -2


def test_rule_names():
    assert discretization_rule("zoh") is discretize_zoh
    with pytest.raises(UserError, match="bilinear"):
        discretization_rule("bilinar")
