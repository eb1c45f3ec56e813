"""Attention with a bias for each distance: loops in float64, chunks, blocks of queries, and rotary biases."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.ops import relative as module

BATCH, LENGTH, KEYS, VALUES, REACH = 2, 11, 4, 3, 14
LENGTHS = (LENGTH, 6)
# float32 sums of a dozen terms through a softmax.
FLOAT32 = 1e-5


def draw():
    rng = np.random.default_rng(0)
    shapes = ((BATCH, LENGTH, KEYS), (BATCH, LENGTH, KEYS), (BATCH, LENGTH, VALUES), (2 * REACH - 1,))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def loop(q, k, v, bias, activation, seen):
    """One sequence; `seen(i, j)` says whether position i sees position j."""
    q, k, v, bias = (x.astype(float) for x in (q, k, v, bias))
    y = np.zeros((len(q), VALUES))
    for i in range(len(q)):
        keys = [j for j in range(len(q)) if seen(i, j)]
        if activation == "softmax":
            weights = np.exp([q[i] @ k[j] / math.sqrt(KEYS) + bias[REACH - 1 + j - i] for j in keys])
            weights /= weights.sum()
        else:
            scores = [q[i] @ k[j] / len(keys) + bias[REACH - 1 + j - i] for j in keys]
            deviation = math.sqrt(1 / (4 * math.pi))
            laplace = [(1 + math.erf((s - math.sqrt(1 / 2)) / (deviation * math.sqrt(2)))) / 2 for s in scores]
            weights = laplace if activation == "laplace" else np.maximum(scores, 0) ** 2
        y[i] = sum(weight * v[j] for weight, j in zip(weights, keys, strict=True))
    return y


@pytest.mark.parametrize(
    ("activation", "causal", "chunk"), [("softmax", False, 4), ("laplace", True, 0), ("relu2", False, 0)]
)
def test_it_is_the_loop_also_in_blocks_of_queries(activation, causal, chunk, monkeypatch):
    q, k, v, bias = draw()
    chosen = {"activation": activation, "causal": causal, "chunk": chunk}
    attention = partial(ops.relative_attention, **chosen)
    cotangent = (
        np.random.default_rng(1).normal(size=v.shape) * (np.arange(LENGTH) < np.array(LENGTHS)[:, None])[..., None]
    )

    def gradients(*arrays):
        return jax.grad(lambda *a: (attention(*a, lengths=jnp.array(LENGTHS)) * cotangent).sum(), range(4))(*arrays)

    y, at_once = jax.jit(attention)(q, k, v, bias, lengths=jnp.array(LENGTHS)), jax.jit(gradients)(q, k, v, bias)
    for row, n in enumerate(LENGTHS):

        def seen(i, j):
            return (not causal or j <= i) and (not chunk or j // chunk == i // chunk)

        expected = loop(q[row, :n], k[row, :n], v[row, :n], bias, activation, seen)
        np.testing.assert_allclose(y[row, :n], expected, rtol=FLOAT32, atol=FLOAT32)
    # Three queries at a time, the last block with one that does not exist.
    monkeypatch.setattr(module, "_BLOCK_SCORES", 3 * BATCH * LENGTH if not chunk else 3 * 6 * chunk)
    blocks = jax.jit(lambda *arrays: (attention(*arrays, lengths=jnp.array(LENGTHS)), gradients(*arrays)))
    true = np.arange(LENGTH) < np.array(LENGTHS)[:, None]
    again, in_blocks = blocks(q, k, v, bias)
    np.testing.assert_allclose(again[true], y[true], rtol=FLOAT32, atol=FLOAT32)
    for ours, expected in zip(in_blocks, at_once, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=FLOAT32, atol=FLOAT32 * np.abs(expected).max())


def test_rotary_biases_are_products_of_turned_vectors():
    query, key = (x[0, 0].astype(float) for x in draw()[:2])

    def turned(x, position):
        y = np.zeros_like(x)
        for c in range(KEYS // 2):
            angle = position * 10_000 ** (-c / (KEYS // 2))
            first, second = x[c], x[c + KEYS // 2]
            y[c] = first * math.cos(angle) - second * math.sin(angle)
            y[c + KEYS // 2] = second * math.cos(angle) + first * math.sin(angle)
        return y

    found = ops.rotary_bias(jnp.asarray(query), jnp.asarray(key), REACH)
    for i, j in ((0, 0), (2, 9), (9, 2), (13, 0)):
        assert found[REACH - 1 + j - i] == pytest.approx(turned(query, i) @ turned(key, j), abs=FLOAT32)


def test_impossible_arguments():
    q, k, v, bias = draw()
    with pytest.raises(UserError, match="activation 'max'.*laplace"):
        ops.relative_attention(q, k, v, bias, activation="max")
    with pytest.raises(ValueError, match="2 m - 1 numbers with m at least 11; got 19"):
        ops.relative_attention(q, k, v, bias[:19])
