"""Local attention at linear cost, and rotary positions."""

import jax
import jax.numpy as jnp

# The longest wavelength of rotary positions is 2 pi times this.
_WAVELENGTHS = 10_000.0


def local_attention(
    q: jax.Array, k: jax.Array, v: jax.Array, *, window: int, causal: bool, lengths: jax.Array | None = None
) -> jax.Array:
    """Softmax attention in which position i sees the positions j with |i - j| < window, and j <= i if causal.

    The sequence is cut into blocks of `window` positions; a block attends to itself and its neighbours.

    Args:
        q: queries (b, l, n, d).
        k: keys (b, l, m, d), where m divides n: heads share keys in groups.
        v: values (b, l, m, d).
        window: positions seen, the present one included, at least 1.
        causal: only look back.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of q; the values at padded positions mean nothing. Cost O(b l window n d).

    Raises:
        ValueError: a window below 1.

    Source: sliding windows as in Beltagy et al. 2020, "Longformer" (arXiv 2004.05150), section 3.1.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    batch, length = q.shape[:2]
    blocks = -(-length // window)
    offsets = (-1, 0) if causal else (-1, 0, 1)

    def cut(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, 0), (0, blocks * window - length), (0, 0), (0, 0)))
        return x.reshape(batch, blocks, window, *x.shape[2:])

    def with_neighbours(x: jax.Array) -> jax.Array:
        x = jnp.pad(cut(x), ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        x = jnp.concatenate([x[:, 1 + o : 1 + o + blocks] for o in offsets], axis=2)
        return x.reshape(batch * blocks, *x.shape[2:])

    block = jnp.arange(blocks)[:, None] * window
    at = block + jnp.arange(window)  # (blocks, window), where the queries stand
    keys_at = block + jnp.arange(-window, window * (len(offsets) - 1))
    distance = at[:, :, None] - keys_at[:, None, :]
    seen = (distance < window) & (distance >= 0 if causal else distance > -window)
    limit = jnp.full(batch, length) if lengths is None else lengths
    exists = (keys_at >= 0) & (keys_at < limit[:, None, None])  # (b, blocks, keys)
    mask = (seen & exists[:, :, None, :]).reshape(batch * blocks, 1, window, -1)
    y = jax.nn.dot_product_attention(
        cut(q).reshape(batch * blocks, window, *q.shape[2:]), with_neighbours(k), with_neighbours(v), mask=mask
    )
    return y.reshape(batch, blocks * window, *y.shape[2:])[:, :length]


def rotary(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Turns pairs of channels by angles that grow with the position; scalar products then depend on distances only.

    The first half of the channels is turned, channel j with channel j + d/4 at 10000^(-4j/d) radians a position; the
    second half stays.

    Args:
        x: queries or keys (b, l, n, d), d a multiple of 4.
        positions: (l,) or (b, l), integers or floats.

    Returns:
        As x.

    Raises:
        ValueError: d is no multiple of 4.

    Source: Su et al. 2021, "RoFormer" (arXiv 2104.09864); on half of the channels as published with RecurrentGemma.
    """
    if x.shape[-1] % 4:
        raise ValueError(f"rotary positions need a multiple of 4 channels a head, got {x.shape[-1]}")
    quarter = x.shape[-1] // 4
    dtype = jnp.result_type(jnp.float32, x)
    frequencies = _WAVELENGTHS ** (-jnp.arange(quarter, dtype=dtype) / quarter)
    angles = (positions[..., None].astype(dtype) * frequencies)[..., None, :]
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    first, second, rest = jnp.split(x, (quarter, 2 * quarter), axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin, rest)
    return jnp.concatenate([part.astype(x.dtype) for part in turned], axis=-1)
