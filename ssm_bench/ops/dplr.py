"""Diagonal plus low-rank (DPLR) state space models, as a kernel and as a recurrence: what S4 computes."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Complex, Float

from ssm_bench.ops.backends import FastPath, choose_backend
from ssm_bench.ops.dense import solve_systems

# Resolvents of h n modes at all frequencies at once would be the largest array of a model: at most this many numbers
# exist together.
_BLOCK_NUMBERS = 2**25

# Of the sums over modes these alone are kept for the gradients, and what is made of them is made again.
_KEEP = jax.checkpoint_policies.save_only_these_names("sums")


# Traced once for all layers of a size.
@partial(jax.jit, static_argnames=("length", "truncated"))
def dplr_kernel(
    Lambda: Complex[Array, "h n"],
    P: Complex[Array, "rank h n"],
    B: Complex[Array, "h n"],
    C: Complex[Array, "channels h n"],
    dt: Float[Array, " h"],
    length: int,
    *,
    truncated: bool = False,
) -> Float[Array, "channels h {length}"]:
    """The impulse response K[k] = C A_bar^k B_bar, k < length, of x' = A x + B u, bilinear, A = diag(Lambda) - P P*.

    The n modes stand for n conjugate pairs: Lambda, P, B and C are followed by their conjugates, and P P* couples all
    2n states. The kernel is the inverse transform of its generating function at the roots of unity, where A enters by
    its resolvent: sums over modes (Cauchy products), then one Sherman-Morrison update for each rank. Cutting the
    series after `length` terms replaces C by C (I - A_bar^length).

    Args:
        Lambda: eigenvalues (h, n), complex, real part negative.
        P: low-rank factor (rank, h, n), complex, of any rank, also 0.
        B: input coefficients (h, n), complex.
        C: output coefficients (channels, h, n), complex.
        dt: step sizes (h,), real and positive.
        length: taps wanted, at least 1.
        truncated: C is C (I - A_bar^length) already, as `truncate_output` gives it.

    Returns:
        (channels, h, length), real, float32 or better. Cost O(channels rank h n length), and O(h n^3 log length) more
        for a C that is not truncated.

    Raises:
        ValueError: ranks or shapes that do not fit, or a length below 1.

    Source: S4 (Gu et al. 2022, arXiv 2111.00396), section 3 and appendix C.3.
    """
    _check_shapes(Lambda, P, B, C, dt, length)
    dtype = jnp.result_type(jnp.complex64, Lambda, P, B, C, dt)
    Lambda, P, B, C = (jnp.asarray(x, dtype) for x in (Lambda, P, B, C))
    dt = jnp.asarray(dt, jnp.finfo(dtype).dtype)
    left = jnp.concatenate([C if truncated else truncate_output(Lambda, P, C, dt, length), jnp.conj(P)])
    right = jnp.concatenate([B[None], P])

    # z = exp(-2 i angle). (1 - A_bar z)^-1 B_bar = dt exp(i angle) (2 i sin(angle) - dt cos(angle) A)^-1 B: with sine
    # and cosine nothing is divided by 1 + z, which vanishes at the last frequency.
    angle = np.pi * np.arange(length // 2 + 1) / length
    path = FastPath(
        operation="dplr_kernel",
        needs="complex64",
        given=dtype.name,
        fits=dtype == jnp.complex64,
        plain="products",
    )
    transform = (_at_once if choose_backend("auto", path) == "fused" else _in_blocks)(left, Lambda, right, dt, angle)
    shift = jnp.asarray(np.exp(1j * angle), dtype)
    return jnp.fft.irfft(dt[:, None] * shift * transform, n=length)


@partial(jax.jit, static_argnames="length")
def truncate_output(
    Lambda: Complex[Array, "h n"],
    P: Complex[Array, "rank h n"],
    C: Complex[Array, "channels h n"],
    dt: Float[Array, " h"],
    length: int,
) -> Complex[Array, "channels h n"]:
    """C (I - A_bar^length), which stands for C where the series of the kernel ends after `length` terms.

    Arguments as for `dplr_kernel`; the result is like C. Cost O(h n^3 log length).

    Source: S4 (Gu et al. 2022, arXiv 2111.00396), appendix C.3.
    """
    return _output_of(-_power_change(_output_rows(C), Lambda, P, dt, length))


@partial(jax.jit, static_argnames="length")
def restore_output(
    Lambda: Complex[Array, "h n"],
    P: Complex[Array, "rank h n"],
    C: Complex[Array, "channels h n"],
    dt: Float[Array, " h"],
    length: int,
) -> Complex[Array, "channels h n"]:
    """The C whose C (I - A_bar^length) is given: the inverse of `truncate_output`, at about its cost.

    In float32 as good as the kernel itself, also where modes hardly decay over the length: A_bar^length - I then is
    small, but has its digits.
    """
    states = jnp.eye(2 * Lambda.shape[-1], dtype=dt.dtype)
    change = _power_change(jnp.broadcast_to(states, (len(Lambda), *states.shape)), Lambda, P, dt, length)
    transposed = solve_systems(jnp.swapaxes(-change, 1, 2), jnp.swapaxes(_output_rows(C), 1, 2))
    return _output_of(jnp.swapaxes(transposed, 1, 2))


class DPLRSystem(NamedTuple):
    """The bilinear recurrence (2/dt - A) x_t = (2/dt + A) x_{t-1} + 2 B u_t, ready for `dplr_step`.

    Attributes:
        present: 2/dt + Lambda (h, n).
        inverse: 1 / (2/dt - Lambda) (h, n).
        P: low-rank factor (rank, h, n).
        correction: what the inverse of 2/dt - A reads, (rank, h, n), after Woodbury.
        B: input coefficients (h, n).
    """

    present: Complex[Array, "h n"]
    inverse: Complex[Array, "h n"]
    P: Complex[Array, "rank h n"]
    correction: Complex[Array, "rank h n"]
    B: Complex[Array, "h n"]


def dplr_system(
    Lambda: Complex[Array, "h n"], P: Complex[Array, "rank h n"], B: Complex[Array, "h n"], dt: Float[Array, " h"]
) -> DPLRSystem:
    """The recurrence of `dplr_kernel` for the same arguments; cost O(h n rank^2 + h rank^3), once.

    Source: S4 (Gu et al. 2022, arXiv 2111.00396), appendix C.2.
    """
    inverse, correction = _inverse(Lambda, P, dt)
    return DPLRSystem(2 / dt[:, None] + Lambda, inverse, P, correction, B)


def _inverse(Lambda: Array, P: Array, dt: Array) -> tuple[Array, Array]:
    """The inverse of 2/dt - A by Woodbury, as a function of x: inverse (x - P (correction x)).

    Returns the diagonal inverse (h, n) and the correction (rank, h, n).
    """
    inverse = 1 / (2 / dt[:, None] - Lambda)
    rows = jnp.conj(P) * inverse
    # Twice the real part: each mode comes with its conjugate.
    gram = 2 * jnp.real(jnp.einsum("rhn,shn->hrs", rows, P, precision=lax.Precision.HIGHEST))
    if len(P) == 1:
        return inverse, rows / (1 + gram[..., 0])
    unit = jnp.broadcast_to(jnp.eye(len(P), dtype=gram.dtype), gram.shape)
    mixing = solve_systems(unit + gram, unit)
    return inverse, jnp.einsum("hrs,shn->rhn", mixing.astype(rows.dtype), rows, precision=lax.Precision.HIGHEST)


def dplr_step(system: DPLRSystem, u_t: Float[Array, "b h"], state: Complex[Array, "b h n"]) -> Complex[Array, "b h n"]:
    """The next state (b, h, n), from u_t (b, h) and the state before it; an output is 2 Re(C x).

    Cost O(b h n rank): a diagonal matrix and a few outer products, no matrix of n by n.
    """

    def low_rank(rows: Array, x: Array) -> Array:
        """P (rows x), of all conjugate pairs."""
        products = 2 * jnp.real(jnp.einsum("rhn,bhn->rbh", rows, x, precision=lax.Precision.HIGHEST))
        return jnp.einsum("rhn,rbh->bhn", system.P, products.astype(x.dtype), precision=lax.Precision.HIGHEST)

    pushed = system.present * state - low_rank(jnp.conj(system.P), state) + 2 * system.B * u_t[..., None]
    return system.inverse * (pushed - low_rank(system.correction, pushed))


def _at_once(left, Lambda, right, dt, angle):
    """The generating function (channels, h, frequencies) at some angles, by a kernel that writes no terms down."""
    from ssm_bench.ops.kernels.cauchy import FREQUENCIES

    waves = _waves(np.pad(angle, (0, -len(angle) % FREQUENCIES)), dt)
    evaluate = jax.checkpoint(partial(_generating_function, _fused_sums, left, Lambda, right, dt), policy=_KEEP)
    return evaluate(*waves)[..., : len(angle)]


def _in_blocks(left, Lambda, right, dt, angle):
    """The same by products, some frequencies after others."""
    # Blocks of one size, so that little is padded.
    blocks = -(-len(angle) * Lambda.size // _BLOCK_NUMBERS)
    block = -(-len(angle) // blocks)
    waves = _waves(np.pad(angle, (0, -len(angle) % block)).reshape(-1, block), dt)
    evaluate = partial(_generating_function, _sums_by_products, left, Lambda, right, dt)
    # The loop already keeps the two forward passes apart.
    evaluate = jax.checkpoint(evaluate, prevent_cse=False, policy=_KEEP)
    transform = jnp.moveaxis(lax.map(lambda waves: evaluate(*waves), waves), 0, 2)
    return transform.reshape((*transform.shape[:2], -1))[..., : len(angle)]


def _waves(angles, dt):
    return tuple(jnp.asarray(wave(angles), dt.dtype) for wave in (np.sin, np.cos))


def _generating_function(sums_over_modes, left, Lambda, right, dt, sine, cosine):
    """C (2 i sin - dt cos A)^-1 B for left = [C; P*] and right = [B; P], as (channels, h, frequencies)."""
    rank = right.shape[0] - 1
    channels = left.shape[0] - rank
    # A mode and its conjugate: v / (s - w) + conj(v) / (s - conj(w)) is one quotient with real coefficients of s.
    weight = left[:, None] * right
    first, second = 2 * jnp.real(weight), -2 * jnp.real(weight * jnp.conj(Lambda)) * dt[:, None]
    modulus, decay = (dt[:, None] * part for part in (jnp.abs(Lambda), jnp.real(Lambda)))
    sums = sums_over_modes(first, second, modulus, decay, 2 * sine, cosine)
    sums = lax.complex(*checkpoint_name(sums, "sums"))
    # Each rank of P changes the resolvent, and with it all sums, by one product. The denominator is at least 1 in
    # modulus, since the resolvent has a positive real part.
    coupling = dt[:, None] * cosine
    for k in range(rank):
        column, row, pivot = sums[:, 1 + k, None], sums[channels + k], sums[channels + k, 1 + k]
        sums = sums - column * (row * coupling / (1 + coupling * pivot))
    return sums[:channels, 0]


def _fused_sums(first, second, *others):
    """`_sums_by_products` by the kernel."""
    from ssm_bench.ops.kernels.cauchy import fused_sums

    pairs = first.shape[:2]
    flat = (array.reshape(-1, *array.shape[2:]) for array in (first, second))
    return tuple(part.reshape(*pairs, *part.shape[1:]) for part in fused_sums(*flat, *others))


@jax.custom_jvp
def _reciprocal(real: Array, imag: Array) -> tuple[Array, Array]:
    """1 / (real + i imag), as real and imaginary part: complex arrays would be taken apart and put together again."""
    scale = 1 / (jnp.square(real) + jnp.square(imag))
    return real * scale, -imag * scale


@_reciprocal.defjvp
def _reciprocal_jvp(primals, tangents):
    real, imag = _reciprocal(*primals)
    d_real, d_imag = tangents
    # -q^2 dz from the quotient q itself: the squares of `scale` would overflow where modes are slow.
    square_real, square_imag = jnp.square(real) - jnp.square(imag), 2 * real * imag
    change = square_imag * d_imag - square_real * d_real, -square_real * d_imag - square_imag * d_real
    return (real, imag), change


def _quotient(modulus: Array, decay: Array, s: Array, cosine: Array) -> tuple[Array, Array]:
    """1 / ((i s - w) (i s - conj(w))), w = cosine dt Lambda, from modulus and real part of dt Lambda, as two reals."""
    # |w|^2 - |s|^2 as a product of sum and difference loses the fewest digits near resonance.
    return _reciprocal((modulus * cosine - s) * (modulus * cosine + s), -2 * s * cosine * decay)


def _sums_by_products(first, second, modulus, decay, s, cosine):
    """The sums over modes of (second cosine + i first s) times the quotient, (i, j, h, f): real and imaginary part.

    The numerators are (i, j, h, n) and real, modulus and decay (h, n), s and cosine (f,).
    """
    real, imag = _quotient(modulus[..., None], decay[..., None], s, cosine)
    product = partial(jnp.einsum, "ijhn,hnf->ijhf", precision=lax.Precision.HIGHEST)
    return (
        product(second, real) * cosine - product(first, imag) * s,
        product(second, imag) * cosine + product(first, real) * s,
    )


def _power_change(rows, Lambda, P, dt, length):
    """rows (A_bar^length - I), for rows (h, any, 2n) that multiply real and imaginary parts of n complex states.

    Powers of A_bar - I rather than of A_bar keep the digits of slow modes: (I + E)^2 - I = 2 E + E^2.
    """
    product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    # A_bar - I = 2 (2/dt - A)^-1 A, and the inverse is diagonal plus low rank again.
    inverse, correction = _inverse(Lambda, P, dt)
    column = jnp.moveaxis(jnp.concatenate([jnp.real(P), jnp.imag(P)], axis=-1), 0, -1)
    A = _real_matrix(Lambda) - product(column, _real_rows(jnp.conj(P)))
    diagonal = _real_matrix(inverse)
    excess = 2 * product(diagonal - product(product(diagonal, column), _real_rows(correction)), A)

    change = jnp.zeros_like(rows)
    for bit in range(length.bit_length()):
        if bit:
            excess = 2 * excess + product(excess, excess)
        if length >> bit & 1:
            change = change + product(rows + change, excess)
    return change


def _output_rows(C: Array) -> Array:
    """Re(C x), for C (channels, h, n), of the states as `_power_change` has them: (h, channels, 2n)."""
    return jnp.moveaxis(jnp.concatenate([jnp.real(C), -jnp.imag(C)], axis=-1), 0, 1)


def _output_of(rows: Array) -> Array:
    """The C (channels, h, n) of `_output_rows`."""
    real, imag = jnp.split(jnp.moveaxis(rows, 1, 0), 2, axis=-1)
    return lax.complex(real, -imag)


def _real_matrix(z: Array) -> Array:
    """Multiplication by the complex z (h, n) of n complex states as 2n real ones, (h, 2n, 2n)."""
    real, imag = (part[..., None] * jnp.eye(z.shape[-1], dtype=part.dtype) for part in (jnp.real(z), jnp.imag(z)))
    return jnp.block([[real, -imag], [imag, real]])


def _real_rows(rows: Array) -> Array:
    """2 Re(rows x), for rows (rank, h, n), of the same states: (h, rank, 2n)."""
    return 2 * jnp.moveaxis(jnp.concatenate([jnp.real(rows), -jnp.imag(rows)], axis=-1), 0, 1)


def _check_shapes(Lambda, P, B, C, dt, length):
    """One sentence for the first argument that does not fit Lambda (h, n)."""
    if Lambda.ndim != 2:
        raise ValueError(f"Lambda must be (h, n), got shape {Lambda.shape}")
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    for name, array, leading in (("P", P, "rank, "), ("C", C, "channels, ")):
        if array.ndim != 3 or array.shape[1:] != Lambda.shape:
            raise ValueError(f"{name} must be ({leading}h, n) with (h, n) = {Lambda.shape}, got shape {array.shape}")
    for name, array, shape in (("B", B, Lambda.shape), ("dt", dt, Lambda.shape[:1])):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape} to fit Lambda {Lambda.shape}, got {array.shape}")
