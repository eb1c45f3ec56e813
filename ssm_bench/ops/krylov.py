"""Kernels of state space models with a dense state matrix, from Krylov sequences: what the LSSL computes."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ssm_bench.ops.dense import solve_systems

_product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def discretize_dense(
    A: Float[Array, "n n"], B: Float[Array, " n"], dt: Float[Array, " h"]
) -> tuple[Float[Array, "h n n"], Float[Array, "h n"]]:
    """The bilinear rule for x' = A x + B u: x_t = x_{t-1} + E x_{t-1} + B_bar u_t.

    Args:
        A: state matrix (n, n), real, eigenvalues with negative real parts.
        B: input coefficients (n,), real.
        dt: step sizes (h,), positive.

    Returns:
        E = A_bar - 1 (h, n, n), which keeps the digits of slow states, and B_bar (h, n). Cost O(h n^3).

    Source: LSSL (Gu et al. 2021, arXiv 2110.13985), section 2, with alpha = 1/2.
    """
    A = dt[:, None, None] * A
    inputs = dt[:, None, None] * B[:, None]
    solved = solve_systems(jnp.eye(len(B), dtype=A.dtype) - A / 2, jnp.concatenate([A, inputs], -1))
    return solved[..., :-1], solved[..., -1]


# Traced once for all layers of a size.
@partial(jax.jit, static_argnames="length")
def dense_kernel(
    A: Float[Array, "n n"], B: Float[Array, " n"], C: Float[Array, "channels h n"], dt: Float[Array, " h"], length: int
) -> Float[Array, "channels h {length}"]:
    """The impulse response K[k] = C A_bar^k B_bar, k < length, of x' = A x + B u under the bilinear rule.

    A power k = i T + j is C A_bar^(i T) times A_bar^j B_bar: two short Krylov sequences, built by doubling, and a
    matrix product, so that no array of h n length exists.

    Args:
        A: state matrix (n, n), real, shared by the channels; eigenvalues with negative real parts.
        B: input coefficients (n,), real.
        C: output coefficients (channels, h, n), real.
        dt: step sizes (h,), positive.
        length: taps wanted, at least 1.

    Returns:
        (channels, h, length). Cost O(channels h n (length + n sqrt(length)) + h n^3 log length).

    Raises:
        ValueError: shapes that do not fit, or a length below 1.

    Source: LSSL (Gu et al. 2021, arXiv 2110.13985), section 3.1.
    """
    _check_shapes(A, B, C, dt, length)
    excess, inputs = discretize_dense(A, B, dt)
    bits = (length - 1).bit_length()
    half = bits // 2
    right, excess = _krylov(excess, inputs[..., None], half)
    left, _ = _krylov(jnp.swapaxes(excess, -1, -2), jnp.swapaxes(jnp.swapaxes(C, 0, 1), -1, -2), bits - half)
    # Columns of left: the power is the slow index, the channel the fast one.
    kernel = _product(jnp.swapaxes(left, -1, -2), right)
    kernel = kernel.reshape(len(dt), -1, len(C), 2**half)
    return jnp.moveaxis(kernel, 2, 0).reshape(len(C), len(dt), -1)[..., :length]


def _krylov(excess: Array, columns: Array, bits: int) -> tuple[Array, Array]:
    """[V, A V, A^2 V, ...] with 2^bits powers of A = 1 + excess, and the excess of A^(2^bits).

    Powers of A - 1 rather than of A keep the digits of slow states: (1 + E)^2 - 1 = 2 E + E^2.
    """
    for _ in range(bits):
        columns = jnp.concatenate([columns, columns + _product(excess, columns)], axis=-1)
        excess = 2 * excess + _product(excess, excess)
    return columns, excess


def _check_shapes(A, B, C, dt, length):
    """One sentence for the first argument that does not fit A (n, n)."""
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be (n, n), got shape {A.shape}")
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    n, h = len(A), len(dt)
    if B.shape != (n,):
        raise ValueError(f"B must have shape ({n},) to fit A {A.shape}, got {B.shape}")
    if C.ndim != 3 or C.shape[1:] != (h, n):
        raise ValueError(f"C must be (channels, h, n) with h = {h} as in dt and n = {n}, got shape {C.shape}")
