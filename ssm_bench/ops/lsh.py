"""Attention among positions that random rotations put next to each other: locality-sensitive hashing."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ssm_bench.ops.precision import widened

#: Taken from the score of a position with itself: it has weight only where there is nothing else.
_LAST_RESORT = 1e5

#: The score of a key that is not there. Finite: rows of padding alone have no other.
_ABSENT = -1e9

#: Added to the square of a key's length.
_EPSILON = 1e-6


def lsh_attention(
    q: Float[Array, "b l n d"],
    v: Float[Array, "b l n d"],
    *,
    chunk: int,
    buckets: int,
    rounds: int,
    seed: int,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l n d"]:
    """Softmax attention between positions whose queries point to about the same direction.

    In each round positions are sorted by the bucket of their query (`lsh_buckets`), in one bucket by time, and cut
    into chunks; a position sees those of its chunk and of the chunk before. Keys are the queries at length one. Scores
    q_i . q_j / |q_j| of all rounds share one softmax, in which a pair counts as often as it met. A position sees itself
    only if it sees nothing else. Padded positions sort behind all others, so that no chunk depends on them.

    Args:
        q: queries, which are the keys as well (b, l, n, d).
        v: values (b, l, n, d).
        chunk: positions in a chunk, at least 1.
        buckets: an even number, at least 2.
        rounds: number of hashes, at least 1.
        seed: of the rotations, at least 0.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, n, d) in the type of v; the values at padded positions mean nothing. Cost O(b l rounds n d (chunk +
        buckets)) and a sort.

    Raises:
        ValueError: numbers out of range.

    Source: Kitaev et al. 2020, "Reformer" (arXiv 2001.04451), section 2. The appendix there restricts a chunk to one
    bucket and counts a pair once; here chunks cross buckets, as in the code of the Long Range Arena.
    """
    if min(chunk, rounds) < 1 or buckets < 2 or buckets % 2:
        raise ValueError(
            "chunk and rounds must be at least 1 and buckets an even number from 2, "
            f"got {chunk}, {rounds} and {buckets}"
        )
    batch, length, heads, _ = q.shape
    limit = jnp.full(batch, length) if lengths is None else lengths
    hashed = lsh_buckets(q, buckets=buckets, rounds=rounds, seed=seed).reshape(batch, length, -1)
    padded = jnp.arange(length)[:, None] >= limit[:, None, None]
    order = jnp.argsort(jnp.where(padded, buckets, hashed), axis=1, stable=True)
    back = jnp.argsort(order, axis=1)

    # From here on every round of a head is a head.
    q, v = (_permuted(jnp.repeat(x, rounds, axis=2), order, back) for x in (q, v))
    y, log_weights = _chunked_attention(q, v, min(chunk, length), limit)
    y = _permuted(y, back, order).reshape(batch, length, heads, rounds, -1)
    log_weights = _permuted(log_weights[..., None], back, order).reshape(batch, length, heads, rounds, 1)
    return jnp.sum(y * jax.nn.softmax(log_weights, axis=3), axis=3).astype(v.dtype)


def lsh_buckets(q: Float[Array, "b l n d"], *, buckets: int, rounds: int, seed: int) -> Int[Array, "b l n {rounds}"]:
    """The bucket of each vector: argmax of [q R, -q R] for a random R (d, buckets / 2) in each head and round.

    Args:
        q: vectors (b, l, n, d).
        buckets: an even number.
        rounds: number of rotations R for each head.
        seed: of R, whose entries are standard normal.

    Returns:
        (b, l, n, rounds), integers from 0 to buckets - 1.

    Source: Andoni et al. 2015, "Practical and optimal LSH for angular distance" (arXiv 1509.02897), as in Kitaev et
    al. 2020, section 2.
    """
    heads, size = q.shape[2:]
    rotations = np.random.default_rng(seed).normal(size=(heads, rounds, size, buckets // 2))
    q = widened(jax.lax.stop_gradient(q))
    # Products of less than full precision would put a position that is near to two buckets into either.
    rotated = jnp.einsum("blnd,nrdk->blnrk", q, jnp.asarray(rotations, q.dtype), precision="highest")
    return jnp.concatenate([rotated, -rotated], axis=-1).argmax(-1)


@jax.custom_vjp
def _permuted(x: Array, order: Array, back: Array) -> Array:
    """x (b, l, n, d) in the order of (b, l, n) along time. The gradient takes the way back, where JAX would scatter."""
    return jnp.take_along_axis(x, order[..., None], axis=1)


_permuted.defvjp(
    lambda x, order, back: (_permuted(x, order, back), (order, back)),
    lambda places, gradient: (_permuted(gradient, places[1], places[0]), None, None),
)


def _chunked_attention(q: Array, v: Array, chunk: int, limit: Array) -> tuple[Array, Array]:
    """Attention of sorted positions (b, l, n, d) to their chunk and the one before, and the logarithms of its sums.

    Both float32 or better: (b, l, n, d), and (b, l, n) for adding up rounds. Positions from `limit` (b,) are padding.
    """
    batch, length = q.shape[:2]
    chunks = -(-length // chunk)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, chunks * chunk - length), (0, 0), (0, 0)))
        return x.reshape(batch, chunks, chunk, *x.shape[2:])

    def with_previous(x: Array) -> Array:
        x = jnp.pad(cut(x), ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))
        return jnp.concatenate([x[:, :-1], x[:, 1:]], axis=2)

    k = widened(q)
    dtype = k.dtype
    k = (k * jax.lax.rsqrt(jnp.sum(k**2, -1, keepdims=True) + _EPSILON)).astype(q.dtype)
    scores = jnp.einsum("bcqnd,bcknd->bcnqk", cut(q), with_previous(k), preferred_element_type=dtype)
    at = jnp.arange(chunks)[:, None] * chunk + jnp.arange(-chunk, chunk)  # (chunks, keys), where the keys stand
    exists = (at >= 0) & (at < limit[:, None, None])
    scores = scores - _LAST_RESORT * jnp.eye(chunk, 2 * chunk, chunk, dtype=dtype)
    scores = jnp.where(exists[:, :, None, None, :], scores, _ABSENT)
    log_sums = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
    weights = jnp.exp(scores - log_sums).astype(v.dtype)
    y = jnp.einsum("bcnqk,bcknd->bcqnd", weights, with_previous(v), preferred_element_type=dtype)
    log_sums = jnp.moveaxis(log_sums[..., 0], 2, 3)

    def uncut(x: Array) -> Array:
        return x.reshape(batch, chunks * chunk, *x.shape[3:])[:, :length]

    return uncut(y), uncut(log_sums)
