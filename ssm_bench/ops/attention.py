"""Softmax attention over whole sequences and over windows, and rotary positions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Real

from ssm_bench.ops.backends import FastPath, choose_backend

# The longest wavelength of rotary positions is 2 pi times this.
_WAVELENGTHS = 10_000.0

# Scores that may exist at once: more of them are computed in blocks of queries.
_BLOCK_SCORES = 2**27


def attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b s m d"],
    v: Float[Array, "b s m d"],
    *,
    causal: bool = False,
    window: int = 0,
    bias: Float[Array, "n l s"] | None = None,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention in the precision of its inputs.

    Half-precision inputs on a GPU take cuDNN's fused attention, which never forms the (l, l) scores. All others are
    computed in the type of the inputs, in blocks of queries where the scores would be too many for the memory.

    Args:
        q: queries (b, l, n, d).
        k: keys (b, s, m, d), where m divides n: heads share keys in groups. s is l for attention within one sequence.
        v: values (b, s, m, d).
        causal: position i sees the positions j <= i only; s must be l.
        window: position i sees the positions j with |i - j| < window only; 0: all. With a window, s must be l.
        bias: added to the scores of all examples (n, l, s), or None; without a window.
        lengths: true lengths of the keys (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of q; the values at padded positions mean nothing. Cost O(b l s n d), with a window
        O(b l window n d).

    Raises:
        ValueError: a bias and a window, or causal or windowed attention to another sequence.
    """
    if (causal or window) and k.shape[1] != q.shape[1]:
        raise ValueError(
            f"causal and window need as many keys as queries, got {k.shape[1]} keys and {q.shape[1]} queries"
        )
    window = window if window < q.shape[1] else 0
    if window and bias is not None:
        raise ValueError(f"a bias needs window 0, got {window}")
    has_bias = bias is not None
    path = FastPath(
        operation="attention",
        needs="half precision, no bias, and no window that looks ahead",
        given=f"{q.dtype.name}{f', window {window}' * bool(window)}{', causal' * causal}{', bias' * has_bias}",
        fits=q.dtype.itemsize < 4 and (causal or not window) and not has_bias,
        own=False,
        plain="blocks",
    )
    if choose_backend("auto", path) == "fused":
        return _fused(q, k, v, lengths, causal, window)
    # Blocks of a wider window would hold more than half of all scores, and all of these at once.
    if window and window * (4 if causal else 6) <= q.shape[1]:
        return local_attention(q, k, v, window=window, causal=causal, lengths=lengths)
    return _in_blocks(q, k, v, bias, lengths, causal, window)


def compute_dtype(dtype: jnp.dtype | str) -> jnp.dtype:
    """The type of the operands of `attention` for inputs of that type: theirs, but bfloat16 for float16 on GPUs.

    Softmax and sums are float32 or better in all cases.
    """
    half = jnp.dtype(dtype) == jnp.float16 and jax.default_backend() == "gpu"
    return jnp.dtype(jnp.bfloat16 if half else dtype)


def _in_blocks(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    lengths: Array | None,
    causal: bool,
    window: int,
) -> Array:
    """Attention of some queries after others; the gradient computes their scores again. No window: 0."""
    batch, length, heads, _ = q.shape
    keys = k.shape[1]
    block = min(length, max(1, _BLOCK_SCORES // (batch * heads * keys)))
    blocks = -(-length // block)

    def attend(queries: Array, at: Array, biases: Array | None) -> Array:
        distance = at[:, None] - jnp.arange(keys)
        seen = (jnp.abs(distance) < (window or length)) & ((distance >= 0) | (not causal))
        mask = seen[None, None] if causal or window else None
        return jax.nn.dot_product_attention(
            queries, k, v, biases, mask, key_value_seq_lengths=lengths, implementation="xla"
        )

    if blocks == 1:
        return attend(q, jnp.arange(length), bias)

    queries = jnp.pad(q, ((0, 0), (0, blocks * block - length), (0, 0), (0, 0)))
    queries = jnp.moveaxis(queries.reshape(batch, blocks, block, *q.shape[2:]), 1, 0)
    if bias is not None:
        bias = jnp.pad(bias, ((0, 0), (0, blocks * block - length), (0, 0)))
        bias = jnp.moveaxis(bias.reshape(heads, blocks, block, keys), 1, 0)
    # The loop already keeps the two forward passes apart.
    attend_again = jax.checkpoint(attend, prevent_cse=False)
    at = jnp.arange(blocks * block).reshape(blocks, block)
    y = jax.lax.map(lambda part: attend_again(*part), (queries, at, bias))
    return jnp.moveaxis(y, 0, 1).reshape(batch, blocks * block, *y.shape[3:])[:, :length]


def _fused(q: Array, k: Array, v: Array, lengths: Array | None, causal: bool, window: int) -> Array:
    """cuDNN's attention in bfloat16; a window (0: none) is for `causal` only.

    It takes even lengths and heads of a multiple of 8 channels only: missing ones are filled with zeros.
    """
    (batch, length, _, size), keys = q.shape, k.shape[1]
    if keys % 2 and lengths is None:
        lengths = jnp.full(batch, keys, jnp.int32)

    def padded(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, -size % 8))).astype(jnp.bfloat16)

    y = jax.nn.dot_product_attention(
        *(padded(x) for x in (q, k, v)),
        scale=size**-0.5,
        key_value_seq_lengths=lengths,
        is_causal=causal,
        local_window_size=(window - 1, 0) if window else None,
        implementation="cudnn",
    )
    return y[:, :length, :, :size].astype(q.dtype)


def local_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l m d"],
    v: Float[Array, "b l m d"],
    *,
    window: int,
    causal: bool,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention in which position i sees the positions j with |i - j| < window, and j <= i if causal.

    The sequence is cut into blocks of `window` positions; a block attends to itself and its neighbors.

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

    def cut(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, blocks * window - length), (0, 0), (0, 0)))
        return x.reshape(batch, blocks, window, *x.shape[2:])

    def with_neighbours(x: Array) -> Array:
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


def rotary(
    x: Float[Array, "b l n d"], positions: Real[Array, " l"] | Real[Array, "b l"], *, turned: int = 0
) -> Float[Array, "b l n d"]:
    """Turns pairs of channels by angles that grow with the position; scalar products then depend on distances only.

    Of the first c channels, channel j is turned with channel j + c/2, at 10000^(-2j/c) radians a position; the others
    stay.

    Args:
        x: queries or keys (b, l, n, d).
        positions: (l,) or (b, l), integers or floats.
        turned: c, even and at most d; 0: half of the channels, where d is a multiple of 4.

    Returns:
        As x.

    Raises:
        ValueError: another number of channels.

    Source: Su et al. 2021, "RoFormer" (arXiv 2104.09864); on half of the channels as published with RecurrentGemma.
    """
    if not turned and x.shape[-1] % 4:
        raise ValueError(f"rotary positions need a multiple of 4 channels a head, got {x.shape[-1]}")
    if turned not in range(0, x.shape[-1] + 1, 2):
        raise ValueError(f"turned must be even and lie in 0..{x.shape[-1]}, got {turned}")
    pairs = (turned or x.shape[-1] // 2) // 2
    dtype = jnp.result_type(jnp.float32, x)
    frequencies = _WAVELENGTHS ** (-jnp.arange(pairs, dtype=dtype) / pairs)
    angles = (positions[..., None].astype(dtype) * frequencies)[..., None, :]
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    first, second, rest = jnp.split(x, (pairs, 2 * pairs), axis=-1)
    parts = (first * cos - second * sin, second * cos + first * sin, rest)
    return jnp.concatenate([part.astype(x.dtype) for part in parts], axis=-1)
