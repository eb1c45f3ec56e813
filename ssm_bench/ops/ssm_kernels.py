"""Convolution kernels of diagonal state space models."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Complex, Float, Inexact

from ssm_bench.errors import unknown_name
from ssm_bench.ops.discretization import discretize_bilinear, discretize_zoh

DISCRETIZATIONS = ("zoh", "bilinear", "dss")

# What keeps the normaliser of DSS away from division by zero; the value of its authors.
_DSS_EPSILON = 1e-7


# Traced once for all layers of a size.
@partial(jax.jit, static_argnames=("length", "discretization", "horizon"))
def diagonal_kernel(
    Lambda: Complex[Array, "h n"],
    B: Complex[Array, "h n"],
    C: Complex[Array, "channels h n"],
    dt: Float[Array, " h"],
    length: int,
    *,
    discretization: str,
    horizon: int | None = None,
) -> Float[Array, "channels h {length}"]:
    """The impulse response K[k] = 2 Re sum over n of C_n a_n^k gain_n B_n, for k < length.

    The n modes stand for n conjugate pairs. "dss" is the softmax form, see `softmax_recurrence`: it has no conjugate
    pairs (so no factor 2), and its eigenvalues may have positive real parts.

    Args:
        Lambda: eigenvalues (h, n), complex.
        B: input coefficients (h, n), complex.
        C: output coefficients (channels, h, n), complex.
        dt: step sizes (h,), real and positive.
        length: taps wanted, at least 1.
        discretization: "zoh", "bilinear" or "dss".
        horizon: for "dss", the steps it normalizes over, at least length; None: length.

    Returns:
        (channels, h, length), real. Cost O(channels h n length) by matrix products of about sqrt(length) squared.

    Raises:
        UserError: an unknown discretization.

    Source: S4D (Gu et al. 2022, arXiv 2206.11893), section 3; DSS (Gupta et al. 2022, arXiv 2203.14343),
    proposition 1.
    """
    if discretization not in DISCRETIZATIONS:
        raise unknown_name("discretization", discretization, DISCRETIZATIONS)
    if discretization == "dss":
        return _softmax_kernel(Lambda, B * C, dt[:, None], length, horizon or length)
    rule = discretize_zoh if discretization == "zoh" else discretize_bilinear
    log_a, gain = rule(Lambda, dt[:, None])
    return 2 * sum_of_powers(gain * B * C, log_a, length)


def softmax_recurrence(
    Lambda: Complex[Array, "*#shape"], dt: Float[Array, "*#shape"], horizon: int
) -> tuple[Complex[Array, "*shape"], Complex[Array, "*shape"]]:
    """The softmax form of DSS as a recurrence: x_t = exp(log_a) x_{t-1} + gain u_t, an output is Re(C x).

    The powers of a mode are divided by their sum over `horizon` steps, so that this holds for so many steps and no
    more: gain = (a - 1) / (Lambda (a^horizon - 1)).

    Args:
        Lambda: eigenvalues, complex, real parts of either sign.
        dt: step sizes, real and positive, broadcast against Lambda.
        horizon: steps to normalize over, at least 1.

    Returns:
        log_a = Lambda dt, and the gain. That of a mode which grows beyond the largest float in `horizon` steps is 0.

    Source: DSS (Gupta et al. 2022, arXiv 2203.14343), proposition 1 and section 3.
    """
    z, growing, gain = _softmax(Lambda, dt, horizon)
    return jnp.where(growing, -z, z), jnp.where(growing, jnp.exp((horizon - 1) * z), 1) * gain


def _softmax(Lambda: Array, dt: Array, horizon: int) -> tuple[Array, Array, Array]:
    """Lambda dt with growing modes turned to decay, which ones were, and the gain of the last of their powers."""
    z = Lambda * dt
    growing = jnp.real(z) > 0
    z = jnp.where(growing, -z, z)
    normaliser = jnp.expm1(horizon * z) * Lambda
    return z, growing, jnp.expm1(z) * jnp.conj(normaliser) / (jnp.square(jnp.abs(normaliser)) + _DSS_EPSILON)


def _softmax_kernel(Lambda: Array, weight: Array, dt: Array, length: int, horizon: int) -> Array:
    """Growing modes are run backward from the horizon, where they decay."""
    z, growing, gain = _softmax(Lambda, dt, horizon)
    weight = weight * gain
    decaying = sum_of_powers(jnp.where(growing, 0, weight), z, length)
    backward = sum_of_powers(jnp.where(growing, weight * jnp.exp((horizon - length) * z), 0), z, length)
    return decaying + jnp.flip(backward, axis=-1)


def sum_of_powers(
    weight: Inexact[Array, "c h n"], log_a: Inexact[Array, "h n"], length: int
) -> Float[Array, "c h {length}"]:
    """The sums Re sum over n of weight_n exp(k log_a_n), for k < length: the kernel of any diagonal recurrence.

    A power k = i T + j is the product of two short tables, so that the sum is a matrix product and no array of
    h n length exists.

    Args:
        weight: products of input and output coefficients (c, h, n), real or complex.
        log_a: logarithms of the coefficients of the recurrence (h, n), real or complex.
        length: taps, at least 1.

    Returns:
        (c, h, length), real.
    """
    bits = max(length - 1, 1).bit_length()
    inner_bits = bits // 2
    block = 2**inner_bits
    inner = _powers(log_a, inner_bits)
    outer = _powers(block * log_a, bits - inner_bits)[..., : -(-length // block)]
    left, right = weight[..., None] * outer, inner
    if jnp.iscomplexobj(left):
        # Re(x y) = Re x Re y - Im x Im y: one real product over twice the modes.
        left = jnp.concatenate([jnp.real(left), -jnp.imag(left)], axis=-2)
        right = jnp.concatenate([jnp.real(inner), jnp.imag(inner)], axis=-2)
    kernel = jnp.einsum("chni,hnj->chij", left, right, precision=lax.Precision.HIGHEST)
    return kernel.reshape((*kernel.shape[:2], -1))[..., :length]


def _powers(log_a: Array, bits: int) -> Array:
    """exp(k log_a) for k < 2^bits on a new last axis; built by doubling, since only 2^j log_a is exact in floats."""
    table = jnp.ones((*log_a.shape, 1), log_a.dtype)
    for j in range(bits):
        table = jnp.concatenate([table, table * jnp.exp(2**j * log_a)[..., None]], axis=-1)
    return table
