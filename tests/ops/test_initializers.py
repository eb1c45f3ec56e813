"""Random starting points: ranges, distributions, impossible requests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import as_complex, as_pairs, complex_normal, log_input_gain, log_uniform_step, ring

KEY = jax.random.key(0)


def test_log_uniform_step():
    dt = jnp.exp(log_uniform_step(KEY, (10_000,), 1e-3, 0.1))
    assert dt.min() >= 0.99e-3 and dt.max() <= 0.101
    # Uniform in the logarithm: half lie below the geometric mean; 0.02 is four standard errors.
    assert jnp.mean(dt < 1e-2) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(UserError, match="dt_min"):
        log_uniform_step(KEY, (3,), 0.1, 0.01)
    with pytest.raises(UserError, match="dt_min"):
        log_uniform_step(KEY, (3,), 0.0, 0.01)


def test_ring():
    nu, theta, log_gamma = ring(KEY, 10_000, 0.5, 0.9, np.pi)
    radius = jnp.exp(-jnp.exp(nu))
    assert radius.min() >= 0.4999 and radius.max() <= 0.9001
    assert jnp.exp(theta).max() <= np.pi + 1e-5
    # Uniform in area: r^2 is uniform, so its mean is the mean of the squared radii.
    assert jnp.mean(radius**2) == pytest.approx((0.25 + 0.81) / 2, abs=0.01)
    np.testing.assert_allclose(jnp.exp(log_gamma), jnp.sqrt(1 - radius**2), rtol=1e-5)


@given(radii=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted), max_phase=st.floats(0, 6))
@example(radii=[0.0, 1.0], max_phase=np.pi / 10)
@example(radii=[0.0, 1e-30], max_phase=1e-30)
@example(radii=[0.0, 5e-324], max_phase=5e-324)
@example(radii=[1 - 2**-53, 1.0], max_phase=1.0)
def test_every_ring_is_finite_and_where_it_should_be(radii, max_phase):
    nu, theta, log_gamma = ring(KEY, 1000, *radii, max_phase or 1.0)
    for value in (nu, theta, log_gamma):
        assert jnp.isfinite(value).all()
    # By logarithms, for radii that float32 does not tell from 0 or from 1.
    decay = np.exp(np.asarray(nu, np.float64))
    slowest, fastest = -np.log(radii[1]), np.inf if radii[0] == 0 else -np.log(radii[0])
    assert decay.min() >= slowest * (1 - 1e-5) and decay.max() <= fastest * (1 + 1e-5)


def test_input_gain_near_the_circle():
    """1 - |lambda| down to 1e-7, where sqrt(1 - |lambda|^2) in float32 is wrong by a tenth."""
    nu = np.linspace(-16, 1, 50, dtype=np.float32)
    exact = 0.5 * np.log(-np.expm1(-2 * np.exp(nu.astype(np.float64))))
    np.testing.assert_allclose(log_input_gain(jnp.asarray(nu)), exact, rtol=1e-6, atol=1e-6)


def test_ring_refuses():
    for radii in [(-0.1, 0.9), (0.9, 0.5), (0.5, 1.1)]:
        with pytest.raises(UserError, match="r_min"):
            ring(KEY, 4, *radii, 1.0)
    with pytest.raises(UserError, match="max_phase"):
        ring(KEY, 4, 0.0, 1.0, 7.0)


def test_complex_pairs():
    z = as_complex(complex_normal(KEY, (20_000,), variance=3.0))
    # Five standard errors of the mean of |z|^2.
    assert jnp.mean(jnp.abs(z) ** 2) == pytest.approx(3.0, abs=5 * 3.0 / np.sqrt(20_000))
    np.testing.assert_array_equal(as_complex(as_pairs(z)), z)
