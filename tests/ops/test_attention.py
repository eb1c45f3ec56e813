"""Local attention and rotary positions: plain loops in float64, gradients, and their edges."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench import ops
from ssm_bench.ops import local_attention, rotary

# Softmax is float32 whatever it is given: sums of a few dozen terms.
FLOAT32 = 1e-5


def draw(seed, length, heads, kv_heads, size=4):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, length, n, size)).astype(np.float32) for n in (heads, kv_heads, kv_heads)]


def attention_loop(q, k, v, window, causal, lengths):
    """One position and head after the other, in float64."""
    q, k, v = (np.asarray(t, float) for t in (q, k, v))
    y = np.zeros_like(q)
    for b, i, n in np.ndindex(q.shape[:3]):
        group = n * k.shape[2] // q.shape[2]
        seen = [j for j in range(lengths[b]) if abs(i - j) < window and (j <= i or not causal)]
        if seen:
            scores = k[b, seen, group] @ q[b, i, n] / np.sqrt(q.shape[3])
            weights = np.exp(scores - scores.max())
            y[b, i, n] = weights @ v[b, seen, group] / weights.sum()
    return y


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.sampled_from([(1, 1), (5, 1), (5, 2), (12, 4), (13, 4), (13, 13), (13, 20)]),
    heads=st.sampled_from([(1, 1), (4, 1), (4, 2)]),
    causal=st.booleans(),
    padded=st.booleans(),
)
def test_any_window_is_the_loop(seed, sizes, heads, causal, padded):
    length, window = sizes
    q, k, v = draw(seed, length, *heads)
    lengths = np.array([length, (length + 1) // 2]) if padded else np.array([length, length])
    attend = jax.jit(partial(local_attention, window=window, causal=causal))
    y = attend(q, k, v, lengths=lengths if padded else None)
    expected = attention_loop(q, k, v, window, causal, lengths)
    for row, true in enumerate(lengths):
        np.testing.assert_allclose(y[row, :true], expected[row, :true], rtol=FLOAT32, atol=FLOAT32)
    assert np.isfinite(y).all()


@pytest.mark.parametrize("causal", [True, False])
def test_gradients_are_those_of_the_masked_matrix(causal):
    arguments = draw(0, 11, 2, 1)

    def masked(q, k, v):
        distance = np.arange(11)[:, None] - np.arange(11)
        mask = (np.abs(distance) < 3) & ((distance >= 0) | (not causal))
        return jax.nn.dot_product_attention(q, k, v, mask=mask[None, None])

    def gradients(function):
        return jax.jit(jax.grad(lambda *x: jnp.sum(jnp.sin(function(*x))), argnums=range(3)))(*arguments)

    found, expected = gradients(partial(local_attention, window=3, causal=causal)), gradients(masked)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=FLOAT32, atol=FLOAT32), found, expected)


@pytest.mark.parametrize(
    ("causal", "window", "lengths"), [(True, 0, None), (False, 0, (13, 7)), (True, 8, (13, 7)), (False, 6, None)]
)
def test_blocks_of_queries_change_neither_values_nor_gradients(causal, window, lengths, monkeypatch):
    arguments = draw(0, 13, 4, 2)
    lengths = None if lengths is None else jnp.array(lengths)
    true = jnp.arange(13) < (jnp.full(2, 13) if lengths is None else lengths)[:, None]

    def run():
        def loss(q, k, v):
            y = ops.attention(q, k, v, causal=causal, window=window, lengths=lengths)
            return jnp.sum(jnp.sin(y) * true[..., None, None]), y

        return jax.jit(jax.value_and_grad(loss, argnums=range(3), has_aux=True))(*arguments)

    ((_, whole), expected) = run()
    monkeypatch.setattr(sys.modules["ssm_bench.ops.attention"], "_BLOCK_SCORES", 5 * 2 * 4 * 13)  # 5 queries each
    ((_, y), found) = run()
    jax.tree.map(partial(np.testing.assert_allclose, rtol=FLOAT32, atol=FLOAT32), (y, found), (whole, expected))
    rows = attention_loop(*arguments, window or 13, causal, (13, 13) if lengths is None else lengths)
    np.testing.assert_allclose(y * true[..., None, None], rows * true[..., None, None], rtol=FLOAT32, atol=FLOAT32)


def test_a_bias_is_the_loop_and_is_cut_into_the_same_blocks(monkeypatch):
    q, k, v = draw(0, 13, 4, 4)
    bias = np.random.default_rng(1).normal(size=(4, 13, 13)).astype(np.float32)
    attend = jax.value_and_grad(lambda *x: jnp.sum(jnp.sin(ops.attention(*x[:3], bias=x[3]))), range(4))
    whole = jax.jit(attend)(q, k, v, bias)
    monkeypatch.setattr(sys.modules["ssm_bench.ops.attention"], "_BLOCK_SCORES", 5 * 2 * 4 * 13)  # 5 queries each
    in_blocks = jax.jit(lambda *x: attend(*x))(q, k, v, bias)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=FLOAT32, atol=FLOAT32), in_blocks, whole)
    scores = np.einsum("bind,bjnd->bnij", q.astype(float), k) / np.sqrt(q.shape[3]) + bias
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.sin(np.einsum("bnij,bjnd->bind", weights / weights.sum(-1, keepdims=True), v)).sum()
    np.testing.assert_allclose(whole[0], expected, rtol=1e-4)  # a sum of four hundred sines


@pytest.mark.parametrize(("queries", "keys"), [(5, 13), (13, 5)])
@pytest.mark.parametrize("blocks", [False, True])
def test_queries_of_one_sequence_see_the_keys_of_another(queries, keys, blocks, monkeypatch):
    (q, _, _), (_, k, v) = draw(0, queries, 4, 2), draw(1, keys, 4, 2)
    lengths = np.array([keys, 3])
    if blocks:
        monkeypatch.setattr(sys.modules["ssm_bench.ops.attention"], "_BLOCK_SCORES", 2 * 2 * 4 * keys)  # 2 queries each
    y = jax.jit(lambda *x: ops.attention(*x, lengths=jnp.asarray(lengths)))(q, k, v)
    expected = attention_loop(q, k, v, queries + keys, False, lengths)
    np.testing.assert_allclose(y, expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("odd", [True, False])
def test_attention_to_another_sequence_is_fused_on_gpus(odd, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    q, k = (jnp.zeros((2, length + odd, 4, 4), jnp.bfloat16) for length in (6, 12))
    seen = []

    def kernel(query, keys, values, *, key_value_seq_lengths, implementation, **_):
        seen.append((implementation, query.shape, keys.shape, values.shape, key_value_seq_lengths is not None))
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
    assert ops.attention(q, k, k).shape == q.shape
    # Lengths are even and heads have 8 channels; the true lengths hide the key that was added.
    even = [(2, length + 2 * odd, 4, 8) for length in (6, 12)]
    assert seen == [("cudnn", even[0], even[1], even[1], odd)]


@pytest.mark.parametrize("options", [{"causal": True}, {"window": 3}])
def test_positions_of_another_sequence_have_no_distance(options):
    q, k, v = (jnp.zeros((1, length, 1, 2)) for length in (4, 6, 6))
    with pytest.raises(ValueError, match="as many keys as queries, got 6 keys and 4 queries"):
        ops.attention(q, k, v, **options)


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_attention_on_gpus_follows_the_precision_of_its_inputs(window, causal, precision, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with jax.enable_x64(precision == "float64"):
        q = jnp.zeros((2, 13, 4, 8), precision)
        assert ops.compute_dtype(q.dtype) == q.dtype
        if precision == "bfloat16" and (causal or not window):
            fused = []

            def kernel(*arrays, **options):
                fused.append(options["implementation"])
                return arrays[0]

            monkeypatch.setattr(jax.nn, "dot_product_attention", kernel)
            assert ops.attention(q, q, q, causal=causal, window=window).shape == q.shape
            assert fused == ["cudnn"]
        else:
            program = jax.make_jaxpr(partial(ops.attention, causal=causal, window=window))(q, q, q)
            assert program.out_avals[0].dtype == q.dtype
            assert "cudnn" not in str(program)
            assert precision == "bfloat16" or "bf16" not in str(program)


def test_rotary_is_a_rotation_of_pairs_of_the_first_half():
    x = np.random.default_rng(1).normal(size=(2, 7, 3, 8)).astype(np.float32)
    y = rotary(x, jnp.arange(7))
    for t in range(7):
        for j, frequency in enumerate((1.0, 0.01)):
            turned = (x[:, t, :, j] + 1j * x[:, t, :, j + 2]) * np.exp(1j * t * frequency)
            np.testing.assert_allclose(y[:, t, :, j], turned.real, rtol=FLOAT32, atol=FLOAT32)
            np.testing.assert_allclose(y[:, t, :, j + 2], turned.imag, rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_array_equal(y[..., 4:], x[..., 4:])
    np.testing.assert_allclose(rotary(x[..., :4], jnp.arange(7), turned=4), y[..., :4], rtol=FLOAT32, atol=FLOAT32)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), i=st.integers(-50, 50), j=st.integers(-50, 50), shift=st.integers(-100, 100))
def test_rotary_products_depend_on_the_distance_only(seed, i, j, shift):
    q, k, _ = draw(seed, 1, 1, 1, size=8)

    def product(i, j):
        return jnp.sum(rotary(q, jnp.array([i])) * rotary(k, jnp.array([j])))

    # Angles of a few hundred radians are exact to 2e-5 in float32.
    np.testing.assert_allclose(product(i + shift, j + shift), product(i, j), rtol=1e-3, atol=1e-3)


def test_impossible_sizes():
    q, k, v = draw(0, 3, 1, 1)
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        local_attention(q, k, v, window=0, causal=True)
    with pytest.raises(ValueError, match="multiple of 4 channels a head, got 6"):
        rotary(np.zeros((1, 2, 1, 6)), jnp.arange(2))
    with pytest.raises(ValueError, match=r"turned must be even and lie in 0..6, got 8"):
        rotary(np.zeros((1, 2, 1, 6)), jnp.arange(2), turned=8)
