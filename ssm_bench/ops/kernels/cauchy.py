"""The sums over modes of S4's kernel, for NVIDIA GPUs: each term is made where it is added up, in either direction.

`dplr` computes the same everywhere, with arrays of all modes at many frequencies.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.kernels.gpu import call, multiply_add, reciprocal

#: Frequencies of one program of the forward pass, four of each thread; their number has to be a multiple of this.
FREQUENCIES = 128

# Frequencies that one program of the backward pass goes through, and of how many it loads at once.
_SEGMENT, _CHUNK = 256, 4


def fused_sums(
    first: jax.Array,
    second: jax.Array,
    modulus: jax.Array,
    decay: jax.Array,
    s: jax.Array,
    cosine: jax.Array,
    *,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The sum over n of (second cosine + i first s) / ((i s - w) (i s - conj(w))), w = cosine (decay + i frequency).

    Args:
        first: coefficients of s (k, h, n), real as everything here, float32.
        second: coefficients of the cosine (k, h, n).
        modulus: |w / cosine| (h, n).
        decay: real part of w / cosine (h, n), negative.
        s: twice the sine (f,), f a multiple of FREQUENCIES.
        cosine: (f,), zero nowhere together with s. Both waves are constants: they get no gradient.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        Real and imaginary parts (k, h, f). Cost O(k h n f), memory O(k h f).

    Differentiable in reverse mode.
    """
    sums: tuple[jax.Array, jax.Array] = _sums(first, second, modulus, decay, s, cosine, interpret)
    return sums


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _sums(first, second, modulus, decay, s, cosine, interpret):
    shape = (*first.shape[:2], len(s))
    grid = (first.shape[1], len(s) // FREQUENCIES)
    return call(_sums_kernel, grid, [shape, shape], interpret=interpret)(first, second, modulus, decay, s, cosine)


def _forward(*arguments):
    return _sums(*arguments), arguments[:-1]


def _backward(interpret, arguments, cotangents):
    first, _, modulus, _, s, cosine = arguments
    (k, h, n), segments = first.shape, -(-len(s) // _SEGMENT)
    # One thread for each mode.
    lanes = 1 << (n - 1).bit_length()
    parts = [(segments, k, h, lanes)] * 2 + [(segments, h, lanes)] * 2
    found = call(_gradients_kernel, (h, segments), parts, interpret=interpret)(*arguments, *cotangents)
    d_first, d_second, d_modulus, d_decay = (part.sum(0)[..., :n] for part in found)
    return d_first, d_second, modulus * d_modulus, d_decay, jnp.zeros_like(s), jnp.zeros_like(cosine)


_sums.defvjp(_forward, _backward)


def _quotient(modulus, decay, s, cosine):
    """1 / ((i s - w) (i s - conj(w))) as two reals, as `dplr` has it."""
    real, imag = (modulus * cosine - s) * (modulus * cosine + s), -2 * s * cosine * decay
    scale = reciprocal(real * real + imag * imag)
    return real * scale, -imag * scale


def _sums_kernel(first, second, modulus, decay, s, cosine, real, imag):
    """Of one channel at some frequencies; the waves are multiplied with the sums, not with their terms."""
    channel, at = pl.program_id(0), pl.ds(pl.program_id(1) * FREQUENCIES, FREQUENCIES)
    pairs, _, modes = first.shape
    s, cosine = s[at], cosine[at]

    def add(mode, sums):
        quotient = _quotient(modulus[channel, mode], decay[channel, mode], s, cosine)
        weights = [ref[pair, channel, mode] for pair in range(pairs) for ref in (first, second)]
        factors = [(weight, part) for weight in weights for part in quotient]
        return [multiply_add(part, weight, total) for (weight, part), total in zip(factors, sums, strict=True)]

    sums = lax.fori_loop(0, modes, add, [jnp.zeros(FREQUENCIES, jnp.float32)] * (4 * pairs))
    for pair in range(pairs):
        first_real, first_imag, second_real, second_imag = sums[4 * pair : 4 * pair + 4]
        real[pair, channel, at] = second_real * cosine - first_imag * s
        imag[pair, channel, at] = second_imag * cosine + first_real * s


def _gradients_kernel(first, second, modulus, decay, s, cosine, d_real, d_imag, d_first, d_second, d_modulus, d_decay):
    """Of one channel, summed over a segment of the frequencies: one thread for each mode."""
    channel, segment = pl.program_id(0), pl.program_id(1)
    pairs, _, modes = first.shape
    (frequencies,), lanes = s.shape, d_decay.shape[-1]
    mode = jnp.minimum(lax.broadcasted_iota(jnp.int32, (lanes,), 0), modes - 1)
    size, rate = modulus[channel, mode], decay[channel, mode]
    weights = [(first[pair, channel, mode], second[pair, channel, mode]) for pair in range(pairs)]

    zero = jnp.zeros(lanes, jnp.float32)

    def load(f):
        return s[f], cosine[f], [(d_real[pair, channel, f], d_imag[pair, channel, f]) for pair in range(pairs)]

    def add(loaded, sums):
        (s, cosine, gradients), (totals, by_modulus, by_decay) = loaded, sums
        real, imag = _quotient(size, rate, s, cosine)
        # Of the products of weights and gradients the waves are multiplied with the sums.
        ones, twos, found = [zero, zero], [zero, zero], []
        for (one, two), (g_real, g_imag), (by_one, by_two) in zip(weights, gradients, totals, strict=True):
            ones = [multiply_add(one, g, x) for g, x in zip((g_imag, -g_real), ones, strict=True)]
            twos = [multiply_add(two, g, x) for g, x in zip((g_real, g_imag), twos, strict=True)]
            by_one = multiply_add(s * real, g_imag, multiply_add(s * imag, -g_real, by_one))
            by_two = multiply_add(cosine * real, g_real, multiply_add(cosine * imag, g_imag, by_two))
            found.append((by_one, by_two))
        by_real, by_imag = (multiply_add(cosine, two, s * one) for one, two in zip(ones, twos, strict=True))
        # The gradient by z from that by 1 / z is its product with -conj(1 / z)^2.
        square_real, square_imag = multiply_add(real, real, -imag * imag), -2 * real * imag
        by_z_real = multiply_add(square_imag, by_imag, -square_real * by_real)
        by_z_imag = -multiply_add(square_real, by_imag, square_imag * by_real)
        by_modulus = multiply_add(2 * cosine * cosine, by_z_real, by_modulus)
        return found, by_modulus, multiply_add(-2 * s * cosine, by_z_imag, by_decay)

    def chunk(i, sums):
        for loaded in [load(segment * _SEGMENT + i * _CHUNK + k) for k in range(_CHUNK)]:
            sums = add(loaded, sums)
        return sums

    count = jnp.minimum(_SEGMENT, frequencies - segment * _SEGMENT)
    totals, by_modulus, by_decay = lax.fori_loop(0, count // _CHUNK, chunk, ([(zero, zero)] * pairs, zero, zero))
    for pair, (by_one, by_two) in enumerate(totals):
        d_first[segment, pair, channel, :], d_second[segment, pair, channel, :] = by_one, by_two
    d_modulus[segment, channel, :], d_decay[segment, channel, :] = by_modulus, by_decay
