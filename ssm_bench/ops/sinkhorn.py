"""Sparse Sinkhorn attention: to the own block, and to one chosen by a nearly doubly stochastic matrix."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ssm_bench.ops.precision import widened
from ssm_bench.ops.sparse_attention import ABSENT, attended, cut, uncut


def sinkhorn_attention(
    q: Float[Array, "b l n d"],
    k: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    sort_scores: Float[Array, "b n c c"],
    *,
    block: int,
    iterations: int,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """The sum of two softmax attentions: to the positions of the own block, and to those of a sorted block.

    The sorted block at place p is sum_s P[s, p] (block s), position by position, for keys and for values, with
    P = `sinkhorn(sort_scores)`. A position that no block has gets no weight.

    Args:
        q: queries (b, l, n, d).
        k: keys, the same shape.
        v: values, the same shape.
        sort_scores: how much block s should stand at place p (b, n, c, c), c = ceil(l / block).
        block: positions in a block, at least 1.
        iterations: of the Sinkhorn normalization, at least 1.
        lengths: true lengths (b,), or None; padded keys get no weight, blocks of padding no place.

    Returns:
        (b, l, n, d) in the type of v; the values at padded positions mean nothing. Cost O(b l (block + l / block) n d).

    Raises:
        ValueError: a block without positions, or no iterations.

    Source: Tay et al. 2020, "Sparse Sinkhorn Attention" (arXiv 2002.11296), section 3.
    """
    if min(block, iterations) < 1:
        raise ValueError(f"block and iterations must be at least 1, got {block} and {iterations}")
    length, dtype = q.shape[1], v.dtype
    block = min(block, length)
    limit = jnp.full(1, length) if lengths is None else lengths
    true = jnp.arange(length) < limit[:, None]
    q, k, v = (cut(x, block) for x in (q, *(jnp.where(true[..., None, None], x, 0) for x in (k, v))))
    own = cut(true[..., None, None], block)[:, :, None, :, 0, 0]  # (b, c, 1, w)
    order = sinkhorn(sort_scores, -(-limit // block), iterations)

    def sort(x: Array) -> Array:
        """(b, c, w, n, d) at the places that the matrix says."""
        return jnp.einsum("bnsp,bswnd->bpwnd", order.astype(x.dtype), x)

    # The first block has every position that any block has.
    y = attended(q, k, v, own)[0] + attended(q, sort(k), sort(v), own[:, :1])[0]
    return uncut(y, length).astype(dtype)


def sinkhorn(scores: Float[Array, "b n c c"], size: Int[Array, "#b"], iterations: int) -> Float[Array, "b n c c"]:
    """A nearly doubly stochastic matrix: exp(scores) with rows and then columns divided by their sums, several times.

    Args:
        scores: real matrices (b, n, c, c).
        size: rows and columns that there are (b,), or (1,) for all; the others become zero.
        iterations: at least 1; the columns that there are always sum to 1.

    Returns:
        (b, n, c, c), float32 or better.

    Source: Sinkhorn 1964, "A relationship between arbitrary positive matrices and doubly stochastic matrices", Annals
    of Mathematical Statistics.
    """
    there = jnp.arange(scores.shape[-1]) < size[:, None]
    there = (there[:, :, None] & there[:, None])[:, None]
    logs = jnp.where(there, widened(scores), ABSENT)

    def normalized(_: Array, logs: Array) -> Array:
        for axis in (-1, -2):
            logs = jnp.where(there, logs - jax.nn.logsumexp(logs, axis=axis, keepdims=True), ABSENT)
        return logs

    return jnp.exp(jax.lax.fori_loop(0, iterations, normalized, logs))
