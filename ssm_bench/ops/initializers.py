"""Random starting points of state space models."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ssm_bench.errors import UserError
from ssm_bench.ops.precision import widened


def log_uniform_step(key: PRNGKeyArray, shape: tuple[int, ...], dt_min: float, dt_max: float) -> Float[Array, "..."]:
    """Draws log dt with dt between dt_min and dt_max, uniform in the logarithm.

    Raises:
        UserError: unless 0 < dt_min <= dt_max, both finite.
    """
    if not 0 < dt_min <= dt_max < math.inf:
        raise UserError(f"dt_min and dt_max must satisfy 0 < dt_min <= dt_max, both finite; got {dt_min} and {dt_max}")
    return jax.random.uniform(key, shape, minval=math.log(dt_min), maxval=math.log(dt_max))


def softplus_step(key: PRNGKeyArray, shape: tuple[int, ...], dt_min: float, dt_max: float) -> Float[Array, "..."]:
    """Draws what a softplus takes to steps dt like those of `log_uniform_step`: dt + log(1 - exp(-dt)).

    Raises:
        UserError: unless 0 < dt_min <= dt_max, both finite.
    """
    dt = jnp.exp(log_uniform_step(key, shape, dt_min, dt_max))
    return dt + jnp.log(-jnp.expm1(-dt))


def ring(
    key: PRNGKeyArray, n: int, r_min: float, r_max: float, max_phase: float
) -> tuple[Float[Array, " {n}"], Float[Array, " {n}"], Float[Array, " {n}"]]:
    """Eigenvalues lambda = exp(-exp(nu) + i exp(theta)), uniform on the part of a ring in the complex plane.

    Args:
        key: random key.
        n: number of eigenvalues.
        r_min: inner radius, at least 0.
        r_max: outer radius, at most 1.
        max_phase: phases lie between 0 and this, at most 2 pi.

    Returns:
        nu, theta and the logarithm of gamma = sqrt(1 - |lambda|^2), (n,) each.

    Raises:
        UserError: radii or phase out of range.

    Source: LRU (Orvieto et al. 2023, arXiv 2303.06349), lemma 3.2 and section 3.4.
    """
    if not 0 <= r_min < r_max <= 1:
        raise UserError(f"r_min and r_max must satisfy 0 <= r_min < r_max <= 1; got {r_min} and {r_max}")
    if not 0 < max_phase <= 2 * math.pi + 1e-6:
        raise UserError(f"max_phase must lie in (0, 2 pi]; got {max_phase}")
    radius_key, phase_key = jax.random.split(key)
    # Open intervals: a radius of 0 or 1, or a phase of 0, has no finite logarithm.
    tiny = jnp.finfo(jnp.float32).eps
    share = jax.random.uniform(radius_key, (n,), minval=tiny, maxval=1 - tiny)
    # |lambda|^2 = r_max^2 (1 - (1 - share) width), by logarithms: neither tiny radii nor thin rings lose their digits.
    width = (r_max - r_min) / r_max * (1 + r_min / r_max)
    decay = -math.log(r_max) - 0.5 * jnp.log1p(-width * (1 - share))
    theta = math.log(max_phase) + jnp.log(jax.random.uniform(phase_key, (n,), minval=tiny))
    nu = jnp.log(decay)
    return nu, theta, log_input_gain(nu)


def log_input_gain(nu: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The log of gamma for |lambda| = exp(-exp(nu)), half of log(1 - |lambda|^2), without its cancellation near 1."""
    return 0.5 * jnp.log(-jnp.expm1(-2 * jnp.exp(nu)))


def complex_normal(key: PRNGKeyArray, shape: tuple[int, ...], variance: float = 1.0) -> Float[Array, "... 2"]:
    """Complex normal numbers as real pairs on a new last axis; the variance is that of the complex number."""
    return jax.random.normal(key, (*shape, 2)) * math.sqrt(variance / 2)


def as_complex(pairs: Float[Array, "*shape 2"]) -> Complex[Array, "*shape"]:
    """Complex numbers from real pairs (..., 2). Parameters are stored as pairs: optimisers expect real gradients."""
    pairs = widened(pairs)
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


def as_pairs(z: Complex[Array, "*shape"]) -> Float[Array, "*shape 2"]:
    """Real pairs (..., 2) from complex numbers."""
    return jnp.stack([jnp.real(z), jnp.imag(z)], axis=-1)
