"""Attention through landmarks: loops in float64, short examples, padding, and the pseudo-inverse."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import nystrom_attention
from ssm_bench.ops.nystrom import _pseudo_inverse

# float32 through softmax and an inverse that enlarges roundings by its norm, about 20 here.
FLOAT32 = 5e-5

HEADS, SIZE, LANDMARKS, STEPS = 2, 4, 5, 6


def draw(length, rows=1, seed=0):
    shape = (3, rows, length, HEADS, SIZE)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def attention(q, k, v):
    """One head (n, d), every position seen."""
    return softmax(q @ k.T / np.sqrt(q.shape[1])) @ v


def means(x, count):
    """Of the positions of each segment, one after the other."""
    members = [[x[j] for j in range(len(x)) if j * count // len(x) == s] for s in range(count)]
    return np.array([np.mean(m, axis=0) for m in members])


def inverse(a, steps):
    z, one = a.T / (np.abs(a).sum(0).max() * np.abs(a).sum(1).max()), np.eye(len(a))
    for _ in range(steps):
        z = 0.25 * z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z)))
    return z


def oracle(q, k, v, landmarks=LANDMARKS, steps=STEPS):
    """One example (n, heads, d), head by head, in float64."""
    y = np.zeros(q.shape)
    for i in range(q.shape[1]):
        one = [x[:, i].astype(float) for x in (q, k, v)]
        if len(q) <= landmarks:
            y[:, i] = attention(*one)
            continue
        marks = [means(x, landmarks) for x in one[:2]]
        between = softmax(marks[0] @ marks[1].T / np.sqrt(q.shape[2]))
        y[:, i] = attention(one[0], marks[1], inverse(between, steps) @ attention(marks[0], *one[1:]))
    return y


# Segments of equal and of different sizes, as many positions as landmarks, one more and one less, and a single one.
LENGTHS = (23, 20, 11, 6, 5, 4, 1)


def test_examples_of_any_length_are_the_loop():
    q, k, v = draw(LENGTHS[0], len(LENGTHS))
    attend = jax.jit(partial(nystrom_attention, landmarks=LANDMARKS, steps=STEPS))
    padded = attend(q, k, v, lengths=jnp.array(LENGTHS))
    for row, n in enumerate(LENGTHS):
        expected = oracle(*(x[row, :n] for x in (q, k, v)))
        np.testing.assert_allclose(padded[row, :n], expected, rtol=FLOAT32, atol=FLOAT32)
        if n in (LENGTHS[0], LANDMARKS):
            alone = attend(*(x[row : row + 1, :n] for x in (q, k, v)))
            np.testing.assert_allclose(alone[0], expected, rtol=FLOAT32, atol=FLOAT32)


def test_gradients_see_no_padding():
    lengths = np.array([12, 8, 5, 3, 0])

    @jax.jit
    def gradients(q, k, v):
        true = (jnp.arange(q.shape[1]) < lengths[:, None])[..., None, None]
        attend = partial(nystrom_attention, landmarks=LANDMARKS, lengths=jnp.array(lengths))
        return jax.grad(lambda *x: jnp.where(true, jnp.sin(attend(*x)), 0).sum(), (0, 1, 2))(q, k, v)

    long = draw(17, len(lengths))
    for padded, less in zip(gradients(*long), gradients(*long[:, :, :12]), strict=True):
        np.testing.assert_allclose(padded[:, :12], less, rtol=FLOAT32, atol=FLOAT32)
        for row, n in enumerate(lengths):
            assert np.all(padded[row, n:] == 0)
            assert not n or np.abs(padded[row, :n]).max() > FLOAT32


def test_many_steps_are_the_inverse_and_a_matrix_without_one_has_its_pseudo_inverse():
    a = softmax(2 * np.random.default_rng(0).normal(size=(3, 8, 8)))
    np.testing.assert_allclose(_pseudo_inverse(jnp.asarray(a), 20), np.linalg.inv(a), rtol=1e-2, atol=1e-2)
    flat = jnp.full((4, 4), 0.25)
    np.testing.assert_allclose(_pseudo_inverse(flat, 6), np.linalg.pinv(flat), atol=FLOAT32)


def test_memory_grows_with_the_length_and_not_with_its_square():
    def bytes_at(length):
        x = jax.ShapeDtypeStruct((1, length, 1, 32), jnp.float32)
        run = jax.grad(lambda q, k, v: nystrom_attention(q, k, v, landmarks=64).sum(), (0, 1, 2))
        return jax.jit(run).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes

    # A matrix of all pairs would have 2 GiB.
    assert bytes_at(16_384) < 5 * bytes_at(4_096) < 2**28


def test_no_landmarks():
    with pytest.raises(ValueError, match="landmarks must be at least 1, got 0"):
        nystrom_attention(*draw(4), landmarks=0)


@pytest.mark.parametrize("length", [3, LANDMARKS, 9])
def test_padding_beyond_the_landmarks_changes_no_output_in_half_precision(length):
    """Sequences of no more positions than landmarks, padding counted, are computed in another place."""
    q, k, v = (jnp.asarray(x, jnp.bfloat16) for x in draw(length, 2))
    attend = jax.jit(partial(nystrom_attention, landmarks=LANDMARKS, steps=STEPS))
    short = attend(q, k, v)
    for padding in (1, 8):
        padded = [jnp.pad(x, ((0, 0), (0, padding), (0, 0), (0, 0))) for x in (q, k, v)]
        long = attend(*padded, lengths=jnp.full(2, length))[:, :length]
        # Sums in float32 in another order may fall to the other side of a rounding to bfloat16.
        np.testing.assert_allclose(long.astype(jnp.float32), short.astype(jnp.float32), rtol=2**-7, atol=FLOAT32)
