"""Fourier transforms over the positions and channels of sequences of different lengths."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ssm_bench.ops.convolution import fast_size
from ssm_bench.ops.precision import widened
from ssm_bench.ops.sharding import per_device

#: Up to so many positions squares fit into 32 bits.
LONGEST = 2**16


def fourier_mixing(x: Float[Array, "b l h"], lengths: Int[Array, " b"] | None = None) -> Float[Array, "b l h"]:
    """y = Re(F_n x F_h), the discrete Fourier transform over positions and channels, with F_n[j, k] = e^(-2 pi i jk/n).

    Nothing is scaled: y is about sqrt(n h) times as large as x.

    Args:
        x: real (b, l, h).
        lengths: true lengths n (b,), or None: all are l. An example is transformed at its own length, whatever it is
            padded to and whatever stands in the padding.

    Returns:
        (b, l, h) in the type of x, zero in the padding; transforms are float32 or better. Cost: O(b l h (log l +
        log h)).

    Raises:
        ValueError: more than 65,536 positions with lengths.

    Source: Lee-Thorp et al. 2021, "FNet: mixing tokens with Fourier transforms" (arXiv 2105.03824).
    """
    if lengths is None:
        return per_device(_mixed, (True,))(x)
    if x.shape[1] > LONGEST:
        raise ValueError(f"Fourier transforms of different lengths take at most {LONGEST} positions; got {x.shape[1]}")
    return per_device(_mixed_by_length, (True, True))(x, lengths)


def _mixed(x: Array) -> Array:
    return jnp.fft.fft2(widened(x), axes=(1, 2)).real.astype(x.dtype)


def _mixed_by_length(x: Array, lengths: Array) -> Array:
    true = (jnp.arange(x.shape[1]) < lengths[:, None])[..., None]
    by_channel = jnp.fft.fft(widened(jnp.where(true, x, 0)))
    # Time is last, where transforms are fastest.
    y = _chirp_transform(jnp.swapaxes(by_channel, 1, 2), lengths)
    return jnp.where(true, jnp.swapaxes(y.real, 1, 2), 0).astype(x.dtype)


def _chirp_transform(z: Array, lengths: Array) -> Array:
    """The n-point transforms of z (b, h, l), complex, zero from position n = `lengths` (b,) on.

    With w_j = e^(-pi i j^2 / n), and since 2jk = j^2 + k^2 - (k - j)^2, the transform is a convolution,
    Z_k = w_k sum over j of conj(w_{k-j}) w_j z_j, whose size is that of the padded sequence for every n.

    Source: Bluestein 1970, "A linear filtering approach to the computation of discrete Fourier transform", IEEE
    Transactions on Audio and Electroacoustics 18(4).
    """
    length = z.shape[-1]
    size = fast_size(2 * length - 1)
    n = jnp.maximum(lengths, 1).astype(jnp.uint32)[:, None]
    # A circular convolution finds negative distances at the end.
    distance = jnp.minimum(jnp.arange(size), size - jnp.arange(size)).astype(jnp.uint32)
    # In integers, since e^(-pi i j^2 / n) has period 2n in j^2: at 16,384 positions the angles themselves would be
    # rounded to multiples of 0.004. Distances that no true position meets may overflow.
    turns = (distance * distance % (2 * n)).astype(z.real.dtype) / n.astype(z.real.dtype)
    chirp = jax.lax.complex(jnp.cos(jnp.pi * turns), -jnp.sin(jnp.pi * turns))[:, None]
    window = chirp[..., :length]
    convolved = jnp.fft.ifft(jnp.fft.fft(z * window, n=size) * jnp.fft.fft(jnp.conj(chirp)))
    return convolved[..., :length] * window
