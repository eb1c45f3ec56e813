"""Softmax attention to parts of a sequence: blocks, windows, columns, and a few positions that all others see.

Each part is computed by itself, with the logarithm of the sum of its weights; these sums join several parts to one
softmax. No (l, l) array is formed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from ssm_bench.errors import unknown_choice
from ssm_bench.ops.attention import attention
from ssm_bench.ops.precision import widened

#: The score of a key that is not seen. Finite: a query in the padding may see nothing.
ABSENT = -1e9

#: Who sees whom in `sparse_attention`.
SPARSE_PATTERNS = ("strided", "fixed")

# Outputs of queries (..., i, n, d) and the logarithms of the sums of their weights (..., i, n, 1).
Part = tuple[Array, Array]


def block_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    block: int,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention inside blocks: position i sees the positions j with floor(j / block) = floor(i / block).

    Args:
        q: queries (b, l, n, d).
        k: keys, the same shape.
        v: values, the same shape.
        block: positions in a block, at least 1.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of v; the values at padded positions mean nothing. Cost O(b l block n d).

    Raises:
        ValueError: a block without positions.
    """
    y, _ = _block_part(q, k, v, _checked(block, q), _limit(q, lengths))
    return y.astype(v.dtype)


def column_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    stride: int,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention along columns: position i sees the positions j with i - j a multiple of `stride`.

    Args:
        q: queries (b, l, n, d).
        k: keys, the same shape.
        v: values, the same shape.
        stride: positions in a row, at least 1.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of v; the values at padded positions mean nothing. Cost O(b l (l / stride) n d).

    Raises:
        ValueError: a row without positions.
    """
    y, _ = _column_part(q, k, v, _checked(stride, q), _limit(q, lengths))
    return y.astype(v.dtype)


def window_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    window: int,
    first: int = 0,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention to the positions j with |i - j| < window, and to the first ones.

    The queries of the first positions are treated like any other; `with_global_rows` lets them see everything.

    Args:
        q: queries (b, l, n, d).
        k: keys, the same shape.
        v: values, the same shape.
        window: positions seen to each side, the present one included, at least 1.
        first: positions at the beginning that all others see, at least 0.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of v; the values at padded positions mean nothing. Cost O(b l (window + first) n d).

    Raises:
        ValueError: a window without positions.

    Source: Beltagy et al. 2020, "Longformer" (arXiv 2004.05150), section 3.1.
    """
    limit, window = _limit(q, lengths), _checked(window, q)
    parts = _window_parts(q, k, v, window, limit)
    return _joined([*parts, *_first_part(q, k, v, first, limit, lambda i, j: jnp.abs(i - j) < window)], v.dtype)


def sparse_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    pattern: str,
    block: int,
    summary: int = 0,
    first: int = 0,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention in both directions with a pattern of the Sparse Transformer, both of its parts in one softmax.

    "strided": position i sees the positions j with |i - j| < block, and those with i - j a multiple of `block`.
    "fixed": position i sees its block of `block` positions, and the last `summary` positions of every block.

    Args:
        q: queries (b, l, n, d).
        k: keys, the same shape.
        v: values, the same shape.
        pattern: one of SPARSE_PATTERNS.
        block: the stride, or positions in a block, at least 1.
        summary: positions of each block that all see, from 0 to `block`; for "fixed" only.
        first: positions at the beginning that all others see, at least 0.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of v; the values at padded positions mean nothing. Cost O(b l (block + l / block) n d)
        for "strided", O(b l (block + summary l / block) n d) for "fixed".

    Raises:
        UserError: another pattern.
        ValueError: numbers out of range.

    Source: Child et al. 2019, "Generating Long Sequences with Sparse Transformers" (arXiv 1904.10509), section 4, with
    merged heads (section 5.2). There positions see earlier ones only.
    """
    if not 0 <= summary <= block:
        raise ValueError(f"summary must lie in 0..block, got {summary} and block {block}")
    limit, block = _limit(q, lengths), _checked(block, q)
    summary = min(summary, block)
    if pattern == "strided":
        parts = [*_window_parts(q, k, v, block, limit), _column_part(q, k, v, block, limit, itself=False)]

        def seen(i: Array, j: Array) -> Array:
            return (jnp.abs(i - j) < block) | ((i - j) % block == 0)
    elif pattern == "fixed":
        parts = [_block_part(q, k, v, block, limit), *_summary_part(q, k, v, block, summary, limit)]

        def seen(i: Array, j: Array) -> Array:
            return (i // block == j // block) | (j % block >= block - summary)
    else:
        raise unknown_choice("pattern", pattern, SPARSE_PATTERNS)
    return _joined([*parts, *_first_part(q, k, v, first, limit, seen)], v.dtype)


def with_global_rows(
    y: Float[Array, "b l n d"],
    q: Float[Array, "b g n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Outputs y (b, l, n, d) with those of the first g queries (b, g, n, d) replaced: these see all keys (b, l, n, d).

    Padded keys get no weight. Cost O(b l g n d).
    """
    rows = attention(q, k, v, lengths=lengths)
    return jnp.concatenate([rows, y[:, q.shape[1] :]], 1)


def attended(
    q: Float[Array, "*#batch i n d"],
    k: Float[Array, "*#batch j n d"],
    v: Float[Array, "*#batch j n d"],
    seen: Bool[Array, "*#batch #i j"],
) -> Part:
    """Softmax attention from (..., i, n, d) to (..., j, n, d), where `seen` (..., i or 1, j): in float32 or better.

    Leading axes of length 1 serve all others.
    """
    dtype = widened(q).dtype
    scores = jnp.einsum("...ind,...jnd->...nij", q, k, preferred_element_type=dtype) / q.shape[-1] ** 0.5
    scores = jnp.where(seen[..., None, :, :], scores, ABSENT)
    log_sums = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    weights = jnp.exp(scores - log_sums).astype(v.dtype)
    y = jnp.einsum("...nij,...jnd->...ind", weights, v, preferred_element_type=dtype)
    return y, jnp.swapaxes(log_sums, -3, -2)


def cut(x: Shaped[Array, "b l n d"], block: int) -> Shaped[Array, "b c {block} n d"]:
    """(b, l, n, d) -> (b, c, block, n, d), with zeros after the end."""
    blocks = -(-x.shape[1] // block)
    x = jnp.pad(x, ((0, 0), (0, blocks * block - x.shape[1]), (0, 0), (0, 0)))
    return x.reshape(x.shape[0], blocks, block, *x.shape[2:])


def uncut(x: Float[Array, "b c block n d"], length: int) -> Float[Array, "b {length} n d"]:
    """(b, c, block, n, d) -> (b, length, n, d)."""
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]


def _checked(block: int, q: Array) -> int:
    """The size of a block or window; one that is longer than the sequence sees the same as one that is as long."""
    if block < 1:
        raise ValueError(f"a block or window must have at least 1 position, got {block}")
    return min(block, q.shape[1])


def _limit(q: Array, lengths: Array | None) -> Array:
    """Lengths (b,), or (1,) where all examples are as long."""
    return jnp.full(1, q.shape[1]) if lengths is None else lengths


def _joined(parts: list[Part], dtype: jnp.dtype) -> Array:
    """One softmax over several parts, each of which saw other keys."""
    weights = jax.nn.softmax(jnp.stack([log_sums for _, log_sums in parts]), axis=0)
    joined = jnp.sum(weights * jnp.stack([y for y, _ in parts]), axis=0)
    return joined.astype(dtype)


def _block_part(q: Array, k: Array, v: Array, block: int, limit: Array, offset: int = 0) -> Part:
    """To the block that lies `offset` (-1, 0 or 1) after that of the query, as far as |i - j| < block."""
    length = q.shape[1]
    q, k, v = (cut(x, block) for x in (q, k, v))
    blocks = q.shape[1]

    def neighbor(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))[:, 1 + offset : 1 + offset + blocks]

    at = jnp.arange(blocks)[:, None] * block + jnp.arange(block)  # (c, w)
    keys_at = at + offset * block
    near = jnp.abs(at[:, :, None] - keys_at[:, None]) < block
    exists = (keys_at >= 0) & (keys_at < limit[:, None, None])  # (b, c, w)
    if offset:
        k, v = neighbor(k), neighbor(v)
    y, log_sums = attended(q, k, v, near & exists[:, :, None])
    return uncut(y, length), uncut(log_sums, length)


def _window_parts(q: Array, k: Array, v: Array, window: int, limit: Array) -> list[Part]:
    return [_block_part(q, k, v, window, limit, offset) for offset in (-1, 0, 1)]


def _column_part(q: Array, k: Array, v: Array, stride: int, limit: Array, *, itself: bool = True) -> Part:
    """To the positions at a distance of a multiple of the stride, with or without the query's own."""
    length = q.shape[1]
    q, k, v = (jnp.swapaxes(cut(x, stride), 1, 2) for x in (q, k, v))  # (b, stride, c, n, d)
    at = jnp.arange(stride)[:, None] + jnp.arange(q.shape[2]) * stride
    exists = at < limit[:, None, None]
    near = itself | ~jnp.eye(q.shape[2], dtype=bool)
    y, log_sums = attended(q, k, v, near & exists[:, :, None])
    return uncut(jnp.swapaxes(y, 1, 2), length), uncut(jnp.swapaxes(log_sums, 1, 2), length)


def _summary_part(q: Array, k: Array, v: Array, block: int, summary: int, limit: Array) -> list[Part]:
    """To the last positions of every other block."""
    if not summary:
        return []

    def last(x: Array) -> Array:
        x = cut(x, block)[:, :, block - summary :]
        return x.reshape(x.shape[0], -1, *x.shape[3:])

    at = jnp.arange(q.shape[1])
    keys_at = last(jnp.arange(q.shape[1] + -q.shape[1] % block)[None, :, None, None]).ravel()
    elsewhere = at[:, None] // block != keys_at // block
    return [attended(q, last(k), last(v), elsewhere & (keys_at < limit[:, None])[:, None])]


def _first_part(
    q: Array,
    k: Array,
    v: Array,
    first: int,
    limit: Array,
    seen: Callable[[Array, Array], Array],
) -> list[Part]:
    """To the first positions, where other parts have not `seen` them."""
    if not first:
        return []
    k, v = k[:, :first], v[:, :first]
    at, keys_at = jnp.arange(q.shape[1])[:, None], jnp.arange(k.shape[1])
    return [attended(q, k, v, ~seen(at, keys_at) & (keys_at < limit[:, None])[:, None])]
