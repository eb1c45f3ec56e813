"""Normalization by the statistics of all positions so far."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssm_bench.ops.precision import widened


class Moments(NamedTuple):
    """Statistics of the positions before a chunk.

    Attributes:
        count: number of positions (b,), float.
        mean: of each group of channels (b, g).
        variance: of each group (b, g).
    """

    count: Float[Array, " b"]
    mean: Float[Array, "b g"]
    variance: Float[Array, "b g"]


def timestep_norm(
    x: Float[Array, "b l h"], before: Moments, *, epsilon: float = 1e-5
) -> tuple[Float[Array, "b l h"], Moments]:
    """(x_t - mean_t) / sqrt(variance_t + epsilon), with the moments of a group of channels at positions up to t.

    Args:
        x: inputs (b, l, h).
        before: moments of earlier positions for g groups of h / g channels; zeros at the start.
        epsilon: added to the variance.

    Returns:
        (b, l, h) in float32 or better, and the moments after the last position. Cost O(b l h).

    Source: Ma et al. 2024, "Megalodon" (arXiv 2404.08801), section 3.2.
    """
    batch, length, width = x.shape
    groups = before.mean.shape[1]
    wide = widened(x).reshape(batch, length, groups, width // groups)
    mean_now, variance_now = wide.mean(-1), wide.var(-1)
    count = before.count[:, None, None] + jnp.arange(1, length + 1, dtype=wide.dtype)[:, None]
    mean = (before.count[:, None, None] * before.mean[:, None] + jnp.cumsum(mean_now, 1)) / count
    # What a position adds to the sum of squares (Welford 1962): never negative, unlike a difference of squares.
    mean_before = jnp.concatenate([before.mean[:, None], mean[:, :-1]], 1)
    added = variance_now + (count - 1) / count * jnp.square(mean_now - mean_before)
    variance = (before.count[:, None, None] * before.variance[:, None] + jnp.cumsum(added, 1)) / count
    y = (wide - mean[..., None]) * jax.lax.rsqrt(variance + epsilon)[..., None]
    return y.reshape(x.shape), Moments(count[:, -1, 0], mean[:, -1], variance[:, -1])
