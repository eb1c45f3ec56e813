"""Attention by features: plain loops in float64, gradients, long sequences, and the features of each kernel."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench import ops

# Sums of some dozens of positive products in float32.
FLOAT32 = 1e-5
# The same sums in another order in float64.
FLOAT64 = 1e-11
# Sums of 16,384 terms, one rounding of 6e-8 for each doubling of their number, and some luck.
LONG = 2e-6
# Means over 60,000 random features: their standard error is below 0.5 % of the mean, and there are 36 of them.
RANDOM = 0.02


def draw(seed, length, batch=2, heads=2, features=5, size=3):
    """Features of queries and keys, and values."""
    rng = np.random.default_rng(seed)
    q, k = (np.exp(rng.normal(size=(batch, length, heads, features))) for _ in range(2))
    return q, k, rng.normal(size=(batch, length, heads, size))


def narrowed(*arrays):
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def loop(q, k, v, lengths, causal, epsilon=0.0):
    """One position and head after the other, in float64."""
    y = np.zeros(v.shape)
    for b, i, n in np.ndindex(v.shape[:3]):
        seen = range(min(i + 1, lengths[b]) if causal else lengths[b])
        weights = [q[b, i, n] @ k[b, j, n] for j in seen]
        y[b, i, n] = sum(w * v[b, j, n] for w, j in zip(weights, seen, strict=True)) / (sum(weights) + epsilon)
    return y


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), length=st.sampled_from([1, 5, 16]), epsilon=st.sampled_from([0.0, 0.5]))
def test_all_positions_are_the_loop_over_true_ones(seed, length, epsilon):
    q, k, v = draw(seed, length)
    lengths = np.array([length, (length + 1) // 2])
    mask = np.arange(length) < lengths[:, None]
    junk = (np.where(mask[..., None, None], t, np.nan) for t in (k, v))
    y = jax.jit(partial(ops.linear_attention, epsilon=epsilon))(*narrowed(q, *junk), mask=mask)
    expected = loop(q, k, v, lengths, False, epsilon)
    np.testing.assert_allclose(y, expected, rtol=FLOAT32, atol=FLOAT32)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 7, 8, 9, 33]),
    chunk=st.sampled_from([1, 8, 128]),
    epsilon=st.sampled_from([0.0, 0.5]),
)
def test_earlier_positions_are_the_loop_however_they_are_cut(seed, length, chunk, epsilon):
    q, k, v = draw(seed, length)
    y, last = jax.jit(partial(ops.causal_linear_attention, epsilon=epsilon, chunk=chunk))(*narrowed(q, k, v))
    np.testing.assert_allclose(y, loop(q, k, v, [length] * 2, True, epsilon), rtol=FLOAT32, atol=FLOAT32)
    numerator = sum(k[:, j, :, :, None] * v[:, j, :, None] for j in range(length))
    np.testing.assert_allclose(last.numerator, numerator, rtol=FLOAT32, atol=10 * FLOAT32)
    np.testing.assert_allclose(last.denominator, k.sum(1), rtol=FLOAT32)


@pytest.mark.parametrize("chunk", [4, 16])
def test_values_in_parts_and_gradients_in_double_precision(x64, chunk):
    q, k, v = draw(0, 21)
    cotangent = np.random.default_rng(1).normal(size=v.shape)

    def in_parts(q, k, v):
        attend = partial(ops.causal_linear_attention, chunk=chunk)
        first, state = attend(q[:, :9], k[:, :9], v[:, :9])
        second, _ = attend(q[:, 9:], k[:, 9:], v[:, 9:], state)
        return jnp.concatenate([first, second], 1)

    def as_a_matrix(q, k, v):
        weights = jnp.tril(jnp.einsum("btnm,bsnm->bnts", q, k))
        return jnp.einsum("bnts,bsnd->btnd", weights / weights.sum(-1, keepdims=True), v)

    def gradients(attend):
        return jax.jit(jax.value_and_grad(lambda *a: jnp.sum(cotangent * attend(*a)), (0, 1, 2)))(q, k, v)

    for ours, theirs in zip(*(jax.tree.leaves(gradients(f)) for f in (in_parts, as_a_matrix)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=FLOAT64, atol=FLOAT64)


def test_no_later_position_reaches_an_earlier_one_by_a_single_bit():
    q, k, v = narrowed(*draw(0, 12))
    late = (t.at[:, 6:].multiply(1e15) for t in (q, k, v))
    attend = jax.jit(partial(ops.causal_linear_attention, chunk=4))
    np.testing.assert_array_equal(attend(q, k, v)[0][:, :6], attend(*late)[0][:, :6])


@pytest.mark.parametrize("causal", [False, True])
def test_a_long_sequence_is_as_exact_as_a_short_one_and_has_no_array_of_two_axes_of_time(causal):
    length = 16_384
    q, k, v = draw(0, length, batch=1, heads=1)

    def attend(q, k, v):
        return ops.causal_linear_attention(q, k, v)[0] if causal else ops.linear_attention(q, k, v)

    numerator, denominator = k[..., None] * v[..., None, :], k
    if causal:
        numerator, denominator = numerator.cumsum(1), denominator.cumsum(1)
    else:
        numerator, denominator = (t.sum(1, keepdims=True) for t in (numerator, denominator))
    expected = (q[..., None] * numerator).sum(-2) / (q * denominator).sum(-1)[..., None]
    arguments = narrowed(q, k, v)
    scale = np.abs(v).max()
    np.testing.assert_allclose(jax.jit(attend)(*arguments), expected, rtol=0, atol=LONG * scale)
    program = jax.make_jaxpr(jax.grad(lambda *a: attend(*a).sum(), (0, 1, 2)))(*arguments)
    sizes = [out.aval.size for equation in program.jaxpr.eqns for out in equation.outvars]
    assert max(sizes) <= 128 * length


def test_without_a_true_position_values_and_gradients_are_zero():
    q, k, v = narrowed(*draw(0, 6))
    nothing = jnp.zeros((2, 6), bool)
    attend = lambda *a: ops.linear_attention(*a, mask=nothing).sum()  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(attend, (0, 1, 2)))(q, k, v)
    assert value == 0 and all(np.all(g == 0) for g in gradient)


def test_a_chunk_has_a_position():
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        ops.causal_linear_attention(*narrowed(*draw(0, 3)), chunk=0)


def test_elu_features_keep_their_digits_and_their_gradients():
    x = jnp.array([-50.0, -20.0, -1e-6, 0.0, 1e-6, 3.0, 1e3])
    expected = [x + 1 if x > 0 else np.exp(x) for x in np.asarray(x, float)]
    np.testing.assert_allclose(ops.elu_features(x), expected, rtol=FLOAT32)
    slope = jax.grad(lambda x: ops.elu_features(x).sum())(x)
    np.testing.assert_allclose(slope, np.minimum(expected, 1), rtol=FLOAT32)


def test_random_rows_are_orthogonal_in_groups_and_as_long_as_normal_vectors():
    projection = np.asarray(ops.orthogonal_gaussian(jax.random.key(0), 1002, 4), float)
    assert projection.shape == (1002, 4)
    for group in np.split(projection[:1000], 250):
        directions = group / np.linalg.norm(group, axis=1, keepdims=True)
        np.testing.assert_allclose(directions @ directions.T, np.eye(4), atol=FLOAT32)
    # Mean and variance of a thousand normal vectors, three standard errors and more.
    np.testing.assert_allclose(projection.mean(0), 0, atol=0.12)
    np.testing.assert_allclose(projection.T @ projection / 1002, np.eye(4), atol=0.2)


@pytest.mark.parametrize("causal", [False, True])
def test_products_of_softmax_features_have_the_softmax_as_their_mean(causal):
    rng = np.random.default_rng(0)
    q, k = 0.5 * rng.normal(size=(2, 6, 4))
    projection = ops.orthogonal_gaussian(jax.random.key(1), 60_000, 4)
    queries = jax.jit(ops.softmax_query_features)(jnp.asarray(q), projection)
    keys = jax.jit(partial(ops.softmax_key_features, causal=causal))(jnp.asarray(k)[None, :, None], projection)[0, :, 0]
    products = queries @ keys.T
    expected = np.exp(q @ k.T / 2)
    expected = expected / expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(products / products.sum(-1, keepdims=True), expected, rtol=RANDOM)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3, 1e18])
def test_features_of_queries_and_keys_of_any_size_give_finite_weights_and_gradients(size):
    x = size * jax.random.normal(jax.random.key(0), (1, 50, 2, 16))
    projection = ops.orthogonal_gaussian(jax.random.key(1), 8, 16)

    def attend(x):
        q = ops.softmax_query_features(x, projection)
        before, every = (ops.softmax_key_features(x, projection, causal=causal) for causal in (True, False))
        causal, _ = ops.causal_linear_attention(q, before, x / size, chunk=8)
        return causal, ops.linear_attention(q, every, x / size)

    @jax.jit
    def values_and_gradient(x):
        values, pull = jax.vjp(attend, x)
        return values, pull(jax.tree.map(jnp.ones_like, values))

    values, (gradient,) = values_and_gradient(x)
    # Means of values stay among the values.
    assert max(jnp.abs(y).max() for y in values) <= jnp.abs(x / size).max() * (1 + FLOAT32)
    assert np.isfinite(gradient).all()


def test_exponents_of_keys_end_before_float32_does():
    """A key as long as the row it points along, in 256 channels: e^128."""
    row = ops.orthogonal_gaussian(jax.random.key(0), 1, 256)
    features = ops.softmax_key_features((row * 256**0.25)[None, :, None], row, causal=True)
    assert np.isfinite(1e6 * features).all() and features.min() > 1e20


def test_long_keys_keep_their_weights():
    """Keys so long that e^(-|z|^2 / 2) is far below what is added: that comes after the largest is 1."""
    k = 4 * np.random.default_rng(0).normal(size=(5, 64))
    projection = ops.orthogonal_gaussian(jax.random.key(0), 3, 64)
    z = k / 64**0.25
    exponents = z @ np.asarray(projection, float).T - (z * z).sum(-1, keepdims=True) / 2
    assert exponents.max() < np.log(1e-6)
    # What stands in the padding has no say, and it would be the largest.
    padded = jnp.asarray(np.concatenate([k, np.zeros((2, 64))])[None, :, None], jnp.float32)
    mask = jnp.arange(7)[None] < 5
    found = ops.softmax_key_features(padded, projection, causal=False, mask=mask)
    expected = np.exp(exponents - exponents.max()) + 1e-6
    # Exponents of some dozens are rounded before they are raised.
    np.testing.assert_allclose(found[0, :5, 0], expected, rtol=10 * FLOAT32)


def test_relu_features_with_and_without_a_random_matrix():
    x, projection = jnp.array([[-1.0, 2.0]]), jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(ops.relu_features(x), [[0.001, 2.001]], rtol=FLOAT32)
    np.testing.assert_allclose(ops.relu_features(x, projection), [[1.001, 0.001, 6.001]], rtol=FLOAT32)
