"""Softmax attention through landmarks: a Nyström approximation at linear cost."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ssm_bench.ops.precision import widened


def nystrom_attention(
    q: Float[Array, "b l heads d"],
    k: Float[Array, "b l heads d"],
    v: Float[Array, "b l heads d"],
    *,
    landmarks: int,
    steps: int = 6,
    lengths: Int[Array, " b"] | None = None,
) -> Float[Array, "b l heads d"]:
    """Softmax attention whose matrix is approximated from m landmarks of queries and of keys.

    softmax(Q K^T) is about softmax(Q K'^T) softmax(Q' K'^T)^+ softmax(Q' K^T), scores divided by sqrt(d). Row s of Q'
    and K' is the mean over the positions j with floor(j m / n) = s, n being the true length. An example of m positions
    or fewer would have one landmark a position, with which the product is the attention itself where the inverse
    exists: it gets exact softmax attention.

    Args:
        q: queries (b, l, heads, d).
        k: keys, the same shape.
        v: values, the same shape.
        landmarks: m, at least 1.
        steps: of the iteration for the pseudo-inverse, at least 0.
        lengths: true lengths n (b,), or None: all are l. What stands in the padding gets no weight, if finite.

    Returns:
        (b, l, heads, d) in the type of q, products in float32 or better; the values at padded positions mean nothing.
        Cost O(b l m heads d + b m^3 heads).

    Raises:
        ValueError: no landmarks.

    Source: Xiong et al. 2021, "Nyströmformer: a Nyström-based algorithm for approximating self-attention"
    (arXiv 2102.03902).
    """
    if landmarks < 1:
        raise ValueError(f"landmarks must be at least 1, got {landmarks}")
    batch, length, _, size = q.shape
    dtype = q.dtype
    q, k, v = widened(q), widened(k), widened(v)
    n = jnp.full(batch, length, jnp.int32) if lengths is None else lengths.astype(jnp.int32)
    # The inverse enlarges errors in its directions of small singular values: no product may be rounded to half
    # precision on the way, as they are by default on GPUs and TPUs.
    with jax.default_matmul_precision("highest"):
        if length <= landmarks:
            return jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=n).astype(dtype)
        weights = _segments(n, length, landmarks, q.dtype)
        query_marks, key_marks = (jnp.einsum("bml,blhd->bmhd", weights, x) for x in (q, k))
        found = jax.nn.dot_product_attention(query_marks, k, v, key_value_seq_lengths=n)
        scores = jnp.einsum("bihd,bjhd->bhij", query_marks, key_marks) / size**0.5
        inverse = _pseudo_inverse(jax.nn.softmax(scores), steps)
        found = jnp.einsum("bhij,bjhd->bihd", inverse, found)
        # With a landmark for each position the inverse takes back what the landmarks found: the values themselves.
        exact = (n <= landmarks)[:, None, None, None]
        found = jnp.where(exact, v[:, :landmarks], found)
        y = jax.nn.dot_product_attention(q, key_marks, found, key_value_seq_lengths=jnp.minimum(n, landmarks))
    return y.astype(dtype)


def _segments(n: Array, length: int, count: int, dtype: jnp.dtype) -> Array:
    """Weights (b, count, l) whose product with a sequence gives the means over `count` segments of the first n (b,).

    Segments differ by one position at most. With no more positions than segments, each of the first n is a position.
    """
    at, n = jnp.arange(length), n[:, None]
    segment = jnp.where(n > count, at * count // jnp.maximum(n, 1), at)
    belongs = (segment[:, None] == jnp.arange(count)[:, None]) & (at < n)[:, None]
    return belongs / jnp.maximum(belongs.sum(-1, keepdims=True), 1).astype(dtype)


def _pseudo_inverse(a: Array, steps: int) -> Array:
    """The Moore-Penrose inverse of matrices (..., m, m) without negative entries, nearly.

    It is what a few steps lead to of

        Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4,   Z_0 = A^T / (|A|_1 |A|_inf).

    A singular value s of A has that of Z grow by 13/4 a step from s / (|A|_1 |A|_inf) on, until it is near 1 / s, where
    the error is cubed in each step.

    Source: Razavi et al. 2014, "A new iterative method for finding approximate inverses of complex matrices", Abstract
    and Applied Analysis; chosen by Xiong et al. 2021.
    """
    one = jnp.eye(a.shape[-1], dtype=a.dtype)
    norms = a.sum(-1).max(-1) * a.sum(-2).max(-1)
    z = jnp.swapaxes(a, -1, -2) / norms[..., None, None]

    def improved(_: Array, z: Array) -> Array:
        az = a @ z
        return z @ (13 * one - az @ (15 * one - az @ (7 * one - az))) / 4

    # A loop and not one text for each step, which would be much of what there is to compile.
    return jax.lax.fori_loop(0, steps, improved, z)
