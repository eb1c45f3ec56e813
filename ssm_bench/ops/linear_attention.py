"""Attention at linear cost: weights that are scalar products of features of queries and keys."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.ops.precision import widened
from ssm_bench.ops.ssd import in_chunks

# The bound on exponents of key features: sums over a million of them still fit into float32.
_LARGEST_EXPONENT = 60.0


class KeySums(NamedTuple):
    """What attention by features keeps of the positions so far.

    Attributes:
        numerator: the sum of phi(k_j) v_j^T, (b, n, m, d).
        denominator: the sum of phi(k_j), (b, n, m).
    """

    numerator: Float[Array, "b n m d"]
    denominator: Float[Array, "b n m"]


def linear_attention(
    q: Float[Array, "b l n m"],
    k: Float[Array, "b l n m"],
    v: Float[Array, "b l n d"],
    *,
    mask: Bool[Array, "b l"] | None = None,
    epsilon: float = 0.0,
) -> Float[Array, "b l n d"]:
    """y_i = sum_j (q_i . k_j) v_j / (epsilon + sum_j q_i . k_j) per head, over all true positions j.

    The sum over j is taken before the product with q_i: no array has two axes of time.

    Args:
        q: features of queries (b, l, n, m), not negative.
        k: features of keys (b, l, n, m), not negative.
        v: values (b, l, n, d).
        mask: (b, l) bool, True at true positions; None: all are. Padded keys get no weight.
        epsilon: what is added to the denominator, at least 0. Where all weights are 0, so is y.

    Returns:
        (b, l, n, d) in the type of v, from sums in float32 or better. Cost O(b l n m d).

    Source: Katharopoulos et al. 2020, "Transformers are RNNs" (arXiv 2006.16236), section 3.2.
    """
    dtype = jnp.result_type(jnp.float32, q, k, v)
    wide_q, wide_k, wide_v = (t.astype(dtype) for t in (q, k, v))
    if mask is not None:
        wide_k, wide_v = (jnp.where(mask[..., None, None], t, 0) for t in (wide_k, wide_v))
    numerator = jnp.einsum("btnm,bnmd->btnd", wide_q, jnp.einsum("bsnm,bsnd->bnmd", wide_k, wide_v))
    denominator = jnp.einsum("btnm,bnm->btn", wide_q, wide_k.sum(1))
    return _quotient(numerator, denominator, epsilon).astype(v.dtype)


def causal_linear_attention(
    q: Float[Array, "b l n m"],
    k: Float[Array, "b l n m"],
    v: Float[Array, "b l n d"],
    before: KeySums | None = None,
    *,
    epsilon: float = 0.0,
    chunk: int = 128,
) -> tuple[Float[Array, "b l n d"], KeySums]:
    """`linear_attention` over the positions j <= i only, and over those that came before the sequence.

    The sequence is cut into chunks: within one, y is a masked (c, c) matrix times v; what lies before it enters by the
    sums of whole chunks. So rounding grows with the logarithm of the number of chunks.

    Args:
        q: features of queries (b, l, n, m), not negative, l at least 1.
        k: features of keys (b, l, n, m), not negative.
        v: values (b, l, n, d).
        before: the sums over earlier positions; None: there are none.
        epsilon: as in `linear_attention`.
        chunk: positions c of a chunk, at least 1; the same result for each value.

    Returns:
        y (b, l, n, d) in the type of v, and the sums after the last position, in float32 or better.
        Cost O(b l n (c m + c d + m d)), memory O(b l n (c + m d / c)).

    Raises:
        ValueError: a chunk below 1.

    Source: Katharopoulos et al. 2020, "Transformers are RNNs" (arXiv 2006.16236), sections 3.3 and 3.4.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    dtype = jnp.result_type(jnp.float32, q, k, v)
    batch, length, heads, size = v.shape
    # Features of zero add nothing, so the last chunk may be filled up with them.
    wide_q, wide_k, wide_v = (in_chunks(t.astype(dtype), min(chunk, length)) for t in (q, k, v))
    if before is None:
        features = k.shape[-1]
        before = KeySums(jnp.zeros((batch, heads, features, size)), jnp.zeros((batch, heads, features)))

    earlier, last = _sums_before(jnp.einsum("bcsnm,bcsnd->bcnmd", wide_k, wide_v), before.numerator)
    earlier_keys, last_keys = _sums_before(wide_k.sum(2), before.denominator)
    within = jnp.tril(jnp.einsum("bctnm,bcsnm->bcnts", wide_q, wide_k))
    numerator = jnp.einsum("bcnts,bcsnd->bctnd", within, wide_v) + jnp.einsum("bctnm,bcnmd->bctnd", wide_q, earlier)
    denominator = jnp.moveaxis(within.sum(-1), 2, 3) + jnp.einsum("bctnm,bcnm->bctn", wide_q, earlier_keys)
    y = _quotient(numerator, denominator, epsilon).reshape(batch, -1, heads, size)[:, :length]
    return y.astype(v.dtype), KeySums(last, last_keys)


def elu_features(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """elu(x) + 1, that is x + 1 above zero and e^x below, in float32 or better.

    Source: Katharopoulos et al. 2020, "Transformers are RNNs" (arXiv 2006.16236), section 3.2.1.
    """
    x = widened(x)
    # Not as a sum: below -17 it would be 0 in float32. The exponential of a large x would make gradients NaN.
    return jnp.where(x > 0, x + 1, jnp.exp(jnp.where(x > 0, 0, x)))


def relu_features(
    x: Float[Array, "*batch d"], projection: Float[Array, "m d"] | None = None, *, epsilon: float = 1e-3
) -> Float[Array, "*batch m"]:
    """relu(W x) + epsilon, the features of generalized attention.

    Args:
        x: queries or keys (..., d).
        projection: W (m, d); None: x itself.
        epsilon: what is added to each feature, above 0: then no query is without weights.

    Returns:
        (..., m), or (..., d) without a projection, in float32 or better.

    Source: Choromanski et al. 2021, "Rethinking Attention with Performers" (arXiv 2009.14794).
    """
    x = widened(x)
    return jax.nn.relu(x if projection is None else _projected(x, projection)) + epsilon


def softmax_query_features(
    x: Float[Array, "*batch d"], projection: Float[Array, "m d"], *, epsilon: float = 1e-6
) -> Float[Array, "*batch m"]:
    """Positive random features of queries for the softmax: e^(W z) + epsilon with z = x / d^(1/4), up to a factor.

    The factor is one for each query, e^(-|z|^2 / 2) among others: it cancels in the quotient. The largest feature is 1,
    epsilon aside.

    Args:
        x: queries (..., d).
        projection: W (m, d), as from `orthogonal_gaussian`.
        epsilon: what is added to each feature, above 0: then no query is without weights.

    Returns:
        (..., m), in float32 or better.

    Source: Choromanski et al. 2021, "Rethinking Attention with Performers" (arXiv 2009.14794), lemma 1.
    """
    exponent = _projected(_scaled(x), projection)
    return jnp.exp(exponent - exponent.max(-1, keepdims=True)) + epsilon


def softmax_key_features(
    x: Float[Array, "b l n d"],
    projection: Float[Array, "m d"],
    *,
    causal: bool,
    mask: Bool[Array, "b l"] | None = None,
    epsilon: float = 1e-6,
) -> Float[Array, "b l n m"]:
    """Positive random features of keys for the softmax: e^(W z - |z|^2 / 2) with z = x / d^(1/4).

    With rows of W standard normal, the mean over W of the product with the features of a query is proportional to
    e^(q . k / sqrt(d)), epsilon aside. Where every position sees every other, features are divided by the largest of
    the sequence, and epsilon is added. Causally later positions must have no say: exponents, at most half the squared
    length of a row of W, are cut off where float32 would overflow, and nothing is added, so that a key whose |z|^2 / 2
    is beyond 87 has no weight.

    Args:
        x: keys (b, l, n, d).
        projection: W (m, d), as from `orthogonal_gaussian`.
        causal: positions see no later ones.
        mask: (b, l) bool, True at true positions; None: all are. Padding has no say in what is the largest.
        epsilon: what is added to each feature, at least 0.

    Returns:
        (b, l, n, m), in float32 or better.

    Source: Choromanski et al. 2021, "Rethinking Attention with Performers" (arXiv 2009.14794), lemma 1.
    """
    z = _scaled(x)
    exponent = _projected(z, projection) - jnp.square(z).sum(-1, keepdims=True) / 2
    if causal:
        return jnp.exp(jnp.minimum(exponent, _LARGEST_EXPONENT))
    if mask is not None:
        exponent = jnp.where(mask[..., None, None], exponent, -jnp.inf)
    largest = exponent.max((1, 3), keepdims=True)
    # Without a true position there is no largest.
    return jnp.exp(exponent - jnp.where(jnp.isfinite(largest), largest, 0)) + epsilon


def orthogonal_gaussian(key: PRNGKeyArray, features: int, size: int) -> Float[Array, "{features} {size}"]:
    """A matrix (features, size) whose rows are standard normal vectors, orthogonal in groups of `size` rows.

    Source: Choromanski et al. 2021, "Rethinking Attention with Performers" (arXiv 2009.14794), section 2.4.
    """
    directions, lengths = jax.random.split(key)
    blocks = jax.random.orthogonal(directions, size, (-(-features // size),))
    norms = jnp.linalg.norm(jax.random.normal(lengths, (features, size)), axis=-1, keepdims=True)
    return norms * blocks.reshape(-1, size)[:features]


def _scaled(x: Array) -> Array:
    return widened(x) * x.shape[-1] ** -0.25


def _projected(x: Array, projection: Array) -> Array:
    # An exponent is rounded before it is raised: in half precision that would be an error of percents.
    return jnp.einsum("...d,md->...m", x, projection.astype(x.dtype), precision=jax.lax.Precision.HIGHEST)


def _quotient(numerator: Array, denominator: Array, epsilon: float) -> Array:
    """numerator / (denominator + epsilon), and no NaN, in gradients neither, where there are no weights."""
    denominator = denominator + epsilon
    return numerator / jnp.where(denominator > 0, denominator, 1)[..., None]


def _sums_before(chunks: Array, first: Array) -> tuple[Array, Array]:
    """For each of the chunks (b, c, ...) `first` (b, ...) and the sum of the chunks before it; and the sum of all."""
    after = first.astype(chunks.dtype)[:, None] + jnp.cumsum(chunks, axis=1)
    return jnp.concatenate([first.astype(chunks.dtype)[:, None], after[:, :-1]], axis=1), after[:, -1]
