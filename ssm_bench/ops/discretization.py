"""From continuous to discrete time, for a diagonal system x' = Lambda x + B u sampled every dt.

Both rules give x_t = exp(log_a) x_{t-1} + gain B u_t. They return log_a rather than its exponential, because powers of
a rounded exponential lose digits (see `ssm_bench.ops.linear_recurrence`).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ssm_bench.errors import unknown_name

# What |a|^2 counts as at least: so small that no output shows it, and far above where float32 ends.
SMALLEST_SQUARE = 1e-30


def discretize_zoh(
    Lambda: Complex[Array, "*#shape"], dt: Float[Array, "*#shape"]
) -> tuple[Complex[Array, "*shape"], Complex[Array, "*shape"]]:
    """Zero-order hold: the input is constant within a step. Exact for such inputs.

    Args:
        Lambda: eigenvalues, complex, any shape.
        dt: step sizes, real and positive, broadcast against Lambda.

    Returns:
        log_a = Lambda dt, and gain = (exp(Lambda dt) - 1) / Lambda, which is dt for Lambda = 0.

    Source: S4D (Gu et al. 2022, arXiv 2206.11893); S5 (Smith et al. 2023, arXiv 2208.04933), section 2.
    """
    z = Lambda * dt
    return z, _phi1(z) * dt


def discretize_bilinear(
    Lambda: Complex[Array, "*#shape"], dt: Float[Array, "*#shape"]
) -> tuple[Complex[Array, "*shape"], Complex[Array, "*shape"]]:
    """The bilinear (Tustin) rule: a = (1 + z/2) / (1 - z/2) with z = Lambda dt.

    Args:
        Lambda: eigenvalues, complex, any shape.
        dt: step sizes, real and positive, broadcast against Lambda.

    Returns:
        log_a with phase in [-pi, pi], where |a| counts as at least 1e-15, and gain = dt / (1 - z/2).

    Source: S4 (Gu et al. 2022, arXiv 2111.00396), equation 3.
    """
    w = jnp.asarray(Lambda * dt / 2)
    real, imag = jnp.real(w), jnp.imag(w)
    denominator = jnp.square(1 - real) + jnp.square(imag)
    # |1 + w|^2 = |1 - w|^2 + 4 Re w, and a has the phase of (1 + w) conj(1 - w): no difference of close numbers.
    excess = 4 * real / denominator
    small = (jnp.square(1 + real) + jnp.square(imag)) / denominator
    # Each branch stops where the other is taken, so that its gradient is finite there. a = 0 has no logarithm.
    modulus = 0.5 * jnp.where(
        excess > -0.5, jnp.log1p(jnp.maximum(excess, -0.5)), jnp.log(jnp.clip(small, SMALLEST_SQUARE, 0.5))
    )
    across, along = 2 * imag, 1 - jnp.square(real) - jnp.square(imag)
    phase = jnp.arctan2(across, jnp.where((across == 0) & (along == 0), 1, along))
    return jax.lax.complex(modulus, phase), dt / (1 - w)


_RULES = {"zoh": discretize_zoh, "bilinear": discretize_bilinear}


def discretization_rule(
    name: str,
) -> Callable[[Complex[Array, "..."], Float[Array, "..."]], tuple[Complex[Array, "..."], Complex[Array, "..."]]]:
    """The function called "zoh" or "bilinear".

    Raises:
        UserError: another name.
    """
    if name not in _RULES:
        raise unknown_name("discretization", name, _RULES)
    return _RULES[name]


@jax.custom_jvp
def _phi1(z: Array) -> Array:
    """(exp(z) - 1) / z, and 1 at z = 0."""
    nonzero = jnp.where(z == 0, 1, z)
    return jnp.where(z == 0, 1, jnp.expm1(nonzero) / nonzero)


@_phi1.defjvp
def _phi1_jvp(primals, tangents):
    (z,), (tangent,) = primals, tangents
    phi = _phi1(z)
    # The derivative (exp(z) - phi1(z)) / z cancels near 0: there it is the series of z^k / (k! (k + 2)).
    small = jnp.abs(z) < 0.5
    nonzero = jnp.where(small, 1, z)
    series = jnp.zeros_like(z)
    for k in reversed(range(12)):
        series = series * z + 1 / (math.factorial(k) * (k + 2))
    return phi, jnp.where(small, series, (jnp.exp(nonzero) - phi) / nonzero) * tangent
