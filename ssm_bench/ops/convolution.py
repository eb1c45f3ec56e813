"""Long convolutions by the fast Fourier transform."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssm_bench.ops.sharding import per_device

#: A power of two so many times larger is still taken on a GPU.
LARGEST_POWER = 5 / 3

# Up to so many terms the compiler makes a sum over the batch without sharing it among threads.
_FEW = 32


def causal_conv(u: Float[Array, "b l h"], kernel: Float[Array, "*channels h k"]) -> Float[Array, "*channels b l h"]:
    """y_t = sum over s <= t of kernel[t - s] u_s, one kernel per channel.

    Args:
        u: inputs (b, l, h).
        kernel: (h, k) or (channels, h, k), k at least 1; taps beyond l have no effect.

    Returns:
        (b, l, h), or (channels, b, l, h), in the type of u; transforms are float32 or better. Cost O(b h l log l).

    Raises:
        ValueError: shapes that do not fit.
    """
    _check_shapes(u, kernel)
    length = u.shape[1]
    kernel = kernel[..., :length]
    return _convolve(u, kernel, fast_size(length + kernel.shape[-1] - 1))


def bidirectional_conv(
    u: Float[Array, "b l h"],
    forward_kernel: Float[Array, "*channels h k"],
    backward_kernel: Float[Array, "*channels h k"],
) -> Float[Array, "*channels b l h"]:
    """y_t = sum over s <= t of forward[t - s] u_s + sum over s > t of backward[s - t - 1] u_s.

    The backward kernel starts one step ahead, so that the present step is counted once. Both kernels share one
    transform.

    Args:
        u: inputs (b, l, h).
        forward_kernel: (h, k) or (channels, h, k).
        backward_kernel: the same shape.

    Returns:
        (b, l, h), or (channels, b, l, h), in the type of u; transforms are float32 or better.

    Raises:
        ValueError: shapes that do not fit.

    Source: the bidirectional option of S4 (Gu et al. 2022, arXiv 2111.00396, as published with its code).
    """
    _check_shapes(u, forward_kernel)
    if forward_kernel.shape != backward_kernel.shape:
        raise ValueError(f"the kernels must be of one shape, got {forward_kernel.shape} and {backward_kernel.shape}")
    length = u.shape[1]
    forward_kernel, backward_kernel = forward_kernel[..., :length], backward_kernel[..., :length]
    size = fast_size(length + max(forward_kernel.shape[-1], backward_kernel.shape[-1]))
    # A circular convolution reaches ahead through the end of the kernel.
    gap = size - forward_kernel.shape[-1] - backward_kernel.shape[-1]
    zeros = jnp.zeros((*forward_kernel.shape[:-1], gap), forward_kernel.dtype)
    kernel = jnp.concatenate([forward_kernel, zeros, jnp.flip(backward_kernel, axis=-1)], axis=-1)
    return _convolve(u, kernel, size)


def fast_size(size: int) -> int:
    """The size of a transform, `size` or a little more: a multiple of 8 with small factors, on GPUs a power of two.

    A real transform of odd size is twice the work. On an H100, 1,536 and 3,072 points took 2.2 and 2.7 times as long
    per number as 4,096; other passes grow with the size, so that a power of two may not be far larger.
    """
    power = max(8, 1 << (size - 1).bit_length())
    if jax.default_backend() == "gpu" and power <= LARGEST_POWER * size:
        return power
    # Imported here: it takes half a second, and most models have no long convolution.
    from scipy.fft import next_fast_len

    return 8 * next_fast_len(-(-size // 8), real=True)  # pyright: ignore[reportOperatorIssue]


def _check_shapes(u: Array, kernel: Array) -> None:
    if u.ndim != 3 or not u.size:
        raise ValueError(f"u must be (b, l, h) with l at least 1, got {u.shape}")
    if kernel.ndim not in (2, 3) or kernel.shape[-2] != u.shape[2] or kernel.shape[-1] < 1:
        width = u.shape[2]
        raise ValueError(
            f"the kernel must be ({width}, k) or (channels, {width}, k) to fit u {u.shape}, got {kernel.shape}"
        )


def _convolve(u: Array, kernel: Array, size: int) -> Array:
    """Circular convolution of that size."""
    # In the wider type of the two, so that its gradient is not rounded to the other's.
    kernel = kernel.astype(jnp.result_type(u, kernel, jnp.float32))
    convolve = partial(_convolve_part, size=size, taps=kernel.shape[-1])
    return per_device(convolve, (True, False), axis=kernel.ndim - 2)(u, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve_part(u: Array, kernel: Array, size: int, taps: int) -> Array:
    """Inside, the time axis is last, where transforms are fastest, and the width is first.

    So the compiler lays the whole model out in memory: the width is then the slow axis of a matrix product of all
    positions, which takes it as well as the fast one, and nothing is transposed between products and transforms. With
    the batch first it would be, in several passes over the activations of each layer.
    """
    return _forward(u, kernel, size, taps)[0]


def _forward(u, kernel, size, taps):
    u_hat, kernel_hat = _spectrum(jnp.transpose(u, (2, 0, 1)).astype(kernel.dtype), size), _spectrum(kernel, size)
    y = _series(u_hat * kernel_hat[..., None, :], size, u.shape[1])
    return jnp.moveaxis(y.astype(u.dtype), -3, -1), (u_hat, kernel_hat)


def _backward(size, taps, residuals, dy):
    """Correlations: the spectrum of what stays in place is conjugated."""
    u_hat, kernel_hat = residuals
    dy_hat = _spectrum(jnp.moveaxis(dy, -1, -3).astype(kernel_hat.real.dtype), size)
    du_hat = dy_hat * jnp.conj(kernel_hat)[..., None, :]
    du = _series(du_hat.sum(range(du_hat.ndim - 3)), size, dy.shape[-2])
    # Written once, since a series reads its spectrum twice.
    dkernel_hat = jax.lax.optimization_barrier(_batch_sum(dy_hat * jnp.conj(u_hat)))
    dkernel = _series(dkernel_hat, size, taps)
    return jnp.transpose(du, (1, 2, 0)).astype(dy.dtype), dkernel


_convolve_part.defvjp(_forward, _backward)


def _batch_sum(x: Array) -> Array:
    """(..., b, f) -> (..., f). A few terms are written out: on GPUs their sum would be a loop that waits for each."""
    batch = x.shape[-2]
    return x.sum(-2) if batch > _FEW else sum((x[..., i, :] for i in range(1, batch)), start=x[..., 0, :])


def _spectrum(x: Array, size: int) -> Array:
    """Fourier coefficients 0 to size / 2 of real x, filled up with zeros."""
    return jnp.fft.rfft(x, n=size)


def _series(spectrum: Array, size: int, length: int) -> Array:
    """The first numbers of the real sequence of even size that has this spectrum, as `jnp.fft.irfft` gives them.

    By the Hartley transform, Re - Im of a Fourier transform, which is its own inverse but for a factor: on GPUs an
    inverse transform copies its input and scales its output, in passes of their own.
    """
    head, tail = spectrum.real - spectrum.imag, spectrum.real + spectrum.imag
    turned = jnp.fft.rfft(jnp.concatenate([head, jnp.flip(tail[..., 1 : size // 2], -1)], axis=-1))
    y = (turned.real - turned.imag)[..., :length]
    if length > turned.shape[-1]:
        rest = jnp.flip((turned.real + turned.imag)[..., size - length + 1 : size // 2], -1)
        y = jnp.concatenate([y, rest], axis=-1)
    return y / size
