"""Attention of one head with a bias for each distance, and its activations in place of softmax."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ssm_bench.errors import unknown_choice
from ssm_bench.ops.precision import widened

ATTENTIONS = ("softmax", "laplace", "relu2")

# The Laplace function approximates the squared ReLU with a bounded slope (Ma et al. 2022, section 3.3).
_LAPLACE_MEAN, _LAPLACE_DEVIATION = 0.707107, 0.282095

# Scores that may exist at once: more of them are computed in blocks of queries.
_BLOCK_SCORES = 2**27


def relative_attention(
    q: Float[Array, "b l d"],
    k: Float[Array, "b l d"],
    v: Float[Array, "b l e"],
    bias: Float[Array, " distances"] | None = None,
    *,
    activation: str = "softmax",
    causal: bool = False,
    chunk: int = 0,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l e"]:
    """y_i = sum over j of w_ij v_j, where w_i = f(q_i . k_j, bias_{j-i}) as in `attend`.

    Args:
        q: queries (b, l, d).
        k: keys (b, l, d).
        v: values (b, l, e).
        bias: a number for each distance j - i, (2 m - 1,) with m at least l, or the chunk; distance 0 is in the middle.
            None: zeros.
        activation: one of ATTENTIONS.
        causal: position i sees the positions j <= i only.
        chunk: positions see those of their own chunk of so many positions only; 0: all.
        lengths: true lengths (b,), or None; padded keys get no weight.

    Returns:
        (b, l, e) in the type of v; the values at padded positions mean nothing. Cost O(b l^2 (d + e)), with a chunk
        O(b l chunk (d + e)).

    Raises:
        UserError: an unknown activation.
        ValueError: fewer biases than distances.

    Source: Ma et al. 2022, "Mega" (arXiv 2209.10655), sections 3.2 to 3.4.
    """
    batch, length = q.shape[:2]
    if not chunk or chunk >= length:
        return _whole(q, k, v, bias, lengths, activation, causal)
    chunks = -(-length // chunk)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, chunks * chunk - length), (0, 0)))
        return x.reshape(batch * chunks, chunk, x.shape[-1])

    lengths = jnp.full(batch, length) if lengths is None else lengths
    inside = jnp.clip(lengths[:, None] - chunk * jnp.arange(chunks), 0, chunk).reshape(-1)
    y = _whole(cut(q), cut(k), cut(v), bias, inside, activation, causal)
    return y.reshape(batch, chunks * chunk, -1)[:, :length]


def attend(
    q: Float[Array, "b m d"],
    k: Float[Array, "b l d"],
    v: Float[Array, "b l e"],
    bias: Float[Array, "m l"] | float,
    seen: Bool[Array, "#b #m l"],
    *,
    activation: str = "softmax",
) -> Float[Array, "b m e"]:
    """Attention of some queries to some keys, of which each query sees a part.

    "softmax" is softmax(q . k / sqrt(d) + bias) over the keys seen. "laplace" and "relu2" apply a function to each
    score q . k / n + bias, where n is the number of keys seen: (1 + erf((s - 0.707) / (0.282 sqrt(2)))) / 2, or
    max(s, 0)^2.

    Args:
        q: queries (b, m, d).
        k: keys (b, l, d).
        v: values (b, l, e).
        bias: (m, l), or a number.
        seen: bool, (b or 1, m or 1, l).
        activation: one of ATTENTIONS.

    Returns:
        (b, m, e) in the type of v, with weights in float32 or better.

    Raises:
        UserError: an unknown activation.
    """
    if activation not in ATTENTIONS:
        raise unknown_choice("activation", activation, ATTENTIONS)
    scores = jnp.einsum("bmd,bld->bml", q, k, preferred_element_type=jnp.promote_types(q.dtype, jnp.float32))
    if activation == "softmax":
        scores = jnp.where(seen, scores * q.shape[-1] ** -0.5 + bias, jnp.finfo(scores.dtype).min)
        weights = jax.nn.softmax(scores)
    else:
        scores = scores / jnp.maximum(seen.sum(-1, keepdims=True), 1) + bias
        weights = jnp.where(seen, _laplace(scores) if activation == "laplace" else jnp.square(jax.nn.relu(scores)), 0)
    return jnp.einsum("bml,ble->bme", weights.astype(v.dtype), v)


def _laplace(scores: Array) -> Array:
    return 0.5 * (1 + jax.lax.erf((scores - _LAPLACE_MEAN) / (_LAPLACE_DEVIATION * 2**0.5)))


def _whole(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    lengths: Array | None,
    activation: str,
    causal: bool,
) -> Array:
    """Blocks of queries after each other; the gradient computes their scores again."""
    batch, length = q.shape[:2]
    if bias is not None and (len(bias) % 2 == 0 or len(bias) < 2 * length - 1):
        raise ValueError(f"bias must hold 2 m - 1 numbers with m at least {length}; got {len(bias)}")
    block = min(length, max(1, _BLOCK_SCORES // (batch * length)))
    blocks = -(-length // block)
    exists = jnp.ones((1, 1, length), bool) if lengths is None else (jnp.arange(length) < lengths[:, None])[:, None]
    extra = blocks * block - length
    # Queries past the end have keys at greater distances than any true one.
    padded = None if bias is None else jnp.pad(widened(bias), (extra, 0))

    def some(queries: Array, begin: Array) -> Array:
        at = begin + jnp.arange(block)
        seen = exists & (at[:, None] >= jnp.arange(length)) if causal else exists
        if padded is None:
            return attend(queries, k, v, 0.0, seen, activation=activation)
        middle = (len(padded) + extra) // 2
        distances = jax.lax.dynamic_slice_in_dim(padded, middle + 1 - block - begin, length + block - 1)
        return attend(queries, k, v, _by_distance(distances, block, length), seen, activation=activation)

    if blocks == 1:
        return some(q, jnp.zeros((), int))
    queries = jnp.pad(q, ((0, 0), (0, extra), (0, 0)))
    queries = jnp.moveaxis(queries.reshape(batch, blocks, block, -1), 1, 0)
    # The loop already keeps the two forward passes apart.
    attended = partial(jax.checkpoint, prevent_cse=False)(lambda queries_at: some(*queries_at))
    y = jax.lax.map(attended, (queries, block * jnp.arange(blocks)))
    return jnp.moveaxis(y, 0, 1).reshape(batch, blocks * block, -1)[:, :length]


def _by_distance(values: Array, rows: int, columns: int) -> Array:
    """The matrix M[i, j] = values[rows - 1 + j - i] of (rows + columns - 1,) numbers.

    Copies of the numbers one behind the other, cut into rows that are one number shorter than a copy: each row then
    starts one number earlier. The gradient is a sum over rows, where that of a lookup would be a scatter.
    """
    period = rows + columns
    copies = jnp.tile(jnp.pad(values, (0, 1)), rows)[: rows * (period - 1)]
    return copies.reshape(rows, period - 1)[:, rows - 1 :]


def rotary_bias(query: Float[Array, " d"], key: Float[Array, " d"], reach: int) -> Float[Array, " {2*reach-1}"]:
    """The numbers (R_i query) . (R_j key) for each distance j - i, where R turns pairs of channels by the position.

    Channel c is turned with channel c + d/2 by 10000^(-2c/d) radians a position.

    Args:
        query: (d,), d even.
        key: (d,).
        reach: distances are smaller than that.

    Returns:
        (2 reach - 1,), distance 0 in the middle.

    Source: Ma et al. 2022 (arXiv 2209.10655), with Su et al. 2021 (arXiv 2104.09864).
    """
    half = query.shape[-1] // 2
    dtype = jnp.result_type(jnp.float32, query)
    frequencies = 10_000.0 ** (-jnp.arange(half, dtype=dtype) / half)
    # The product depends on the distance only: the key alone is turned.
    angles = jnp.arange(1 - reach, reach, dtype=dtype)[:, None] * frequencies
    q1, q2 = query[:half], query[half:]
    k1, k2 = key[:half], key[half:]
    return jnp.cos(angles) @ (q1 * k1 + q2 * k2) + jnp.sin(angles) @ (q2 * k1 - q1 * k2)
