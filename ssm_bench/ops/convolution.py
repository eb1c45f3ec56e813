"""Long convolutions by the fast Fourier transform."""

from functools import partial

import jax
import jax.numpy as jnp
from scipy.fft import next_fast_len

from ssm_bench.ops.parts import by_parts


def causal_conv(u: jax.Array, kernel: jax.Array) -> jax.Array:
    """y_t = sum over s <= t of kernel[t - s] u_s, one kernel per channel.

    Args:
        u: inputs (b, l, h).
        kernel: (h, k) or (channels, h, k), k at least 1; taps beyond l have no effect.

    Returns:
        (b, l, h), or (channels, b, l, h), in the type of u; transforms are float32 or better. Cost O(b h l log l).
    """
    length = u.shape[1]
    kernel = kernel[..., :length]
    return _convolve(u, kernel, _fast_size(length + kernel.shape[-1] - 1))


def bidirectional_conv(u: jax.Array, forward_kernel: jax.Array, backward_kernel: jax.Array) -> jax.Array:
    """y_t = sum over s <= t of forward[t - s] u_s + sum over s > t of backward[s - t - 1] u_s.

    The backward kernel starts one step ahead, so that the present step is counted once. Both kernels share one
    transform.

    Args:
        u: inputs (b, l, h).
        forward_kernel: (h, k) or (channels, h, k).
        backward_kernel: the same shape.

    Returns:
        (b, l, h), or (channels, b, l, h), in the type of u; transforms are float32 or better.

    Source: the bidirectional option of S4 (Gu et al. 2022, arXiv 2111.00396, as published with its code).
    """
    length = u.shape[1]
    forward_kernel, backward_kernel = forward_kernel[..., :length], backward_kernel[..., :length]
    size = _fast_size(length + max(forward_kernel.shape[-1], backward_kernel.shape[-1]))
    # A circular convolution reaches ahead through the end of the kernel.
    gap = size - forward_kernel.shape[-1] - backward_kernel.shape[-1]
    zeros = jnp.zeros((*forward_kernel.shape[:-1], gap), forward_kernel.dtype)
    kernel = jnp.concatenate([forward_kernel, zeros, jnp.flip(backward_kernel, axis=-1)], axis=-1)
    return _convolve(u, kernel, size)


def _fast_size(size: int) -> int:
    """The next size without large prime factors."""
    return next_fast_len(size, real=True)  # pyright: ignore[reportReturnType]


def _convolve(u: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Circular convolution of that size."""
    return by_parts(partial(_convolve_part, size=size), (True, False), axis=kernel.ndim - 2)(u, kernel)


def _convolve_part(u: jax.Array, kernel: jax.Array, size: int) -> jax.Array:
    """Inside, the time axis is last, where transforms are fastest, and the width is first.

    So the compiler lays the whole model out in memory: the width is then the slow axis of a matrix product of all
    positions, which takes it as well as the fast one, and nothing is transposed between products and transforms. With
    the batch first it would be, in several passes over the activations of each layer.
    """
    dtype = jnp.result_type(jnp.float32, u, kernel)
    u_hat = jnp.fft.rfft(jnp.transpose(u, (2, 0, 1)).astype(dtype), n=size)
    kernel_hat = jnp.fft.rfft(kernel.astype(dtype), n=size)
    y = jnp.fft.irfft(u_hat * kernel_hat[..., None, :], n=size)[..., : u.shape[1]]
    return jnp.moveaxis(y.astype(u.dtype), -3, -1)
