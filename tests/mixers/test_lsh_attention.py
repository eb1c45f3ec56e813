"""LSH attention: the loop over rounds and chunks, true lengths, and what a position may see."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.lsh_attention import LSHAttention
from ssm_bench.network.scaffold import run_part
from ssm_bench.ops import lsh_attention, lsh_buckets

BATCH, WIDTH = 2, 8
# Sums of a few dozen terms in float32, and keys at length one up to a millionth.
FLOAT32 = 1e-5
# A sum of squares of outputs is made of a thousand terms.
FLOAT32_GRADIENT = 1e-4


def small(**options):
    return LSHAttention(WIDTH, **{"heads": 2, "chunk": 3, "buckets": 4, "rounds": 2, "rngs": nnx.Rngs(0)} | options)


def inputs(length, seed=1):
    return jax.random.normal(jax.random.key(seed), (BATCH, length, WIDTH))


def buckets_by_hand(q, n, r, *, heads=2, rounds=2, buckets=4, seed=0):
    """The buckets of one head's queries (l, d) in one round."""
    rotation = np.random.default_rng(seed).normal(size=(heads, rounds, q.shape[1], buckets // 2))[n, r]
    return [int(np.argmax(np.concatenate([x @ rotation, -x @ rotation]))) for x in q]


def attention_by_hand(q, v, n, *, chunk, rounds, heads=2):
    """One head's outputs (l, d): for every position a list of scores and values of all rounds."""
    y = np.zeros_like(v)
    met = [[] for _ in q]
    for r in range(rounds):
        found = buckets_by_hand(q, n, r, heads=heads, rounds=rounds)
        in_order = sorted(range(len(q)), key=lambda i: (found[i], i))
        chunk_of = {i: place // chunk for place, i in enumerate(in_order)}
        for i in range(len(q)):
            met[i] += [j for j in range(len(q)) if chunk_of[i] - chunk_of[j] in (0, 1) and j != i]
    for i in range(len(q)):
        seen = met[i] or [i]
        scores = np.array([q[i] @ q[j] / np.linalg.norm(q[j]) for j in seen])
        weights = np.exp(scores - scores.max())
        y[i] = weights @ v[seen] / weights.sum()
    return y


def loop(mixer, x):
    """Every position, head and round by itself, in float64, for one sequence (l, h)."""
    query, values, out = (np.asarray(m.kernel[...], float) for m in (mixer.query, mixer.values, mixer.out))
    x, size, heads = np.asarray(x, float), query.shape[1] // mixer.heads, []
    for n in range(mixer.heads):
        part = slice(n * size, (n + 1) * size)
        q, v = (x @ query)[:, part], (x @ values)[:, part]
        heads.append(attention_by_hand(q, v, n, chunk=mixer.chunk, rounds=mixer.rounds))
    return np.concatenate(heads, 1) @ out


# Chunks of one position, of a few, and of more than there are; lengths of whole chunks and of parts of one.
@pytest.mark.parametrize(
    ("length", "lengths", "chunk", "rounds"),
    [(23, (23, 14), 3, 2), (24, (18, 5), 6, 1), (12, (12, 1), 1, 1), (12, (7, 2), 40, 3), (7, (1, 6), 5, 2)],
)
def test_it_is_the_loop(length, lengths, chunk, rounds):
    mixer = small(chunk=chunk, rounds=rounds)
    y = jax.jit(mixer)(inputs(length), jnp.arange(length) < jnp.array(lengths)[:, None])
    for row, true in enumerate(lengths):
        np.testing.assert_allclose(y[row, :true], loop(mixer, inputs(length)[row, :true]), rtol=FLOAT32, atol=FLOAT32)


def test_values_and_gradients_are_those_without_padding():
    """Whatever stands in the padding, and however much of it there is."""
    mixer = small()

    def loss(x, mask, true):
        y = run_part(mixer, x, mask)
        return jnp.sum(jnp.where(true[:, None], y, 0.0) ** 2), y

    @jax.jit
    def gradient(x, true):
        return jax.grad(loss, has_aux=True)(x, jnp.broadcast_to(true, x.shape[:2]), true)

    alone, y = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(inputs(20), None, jnp.ones(20, bool))
    for more, junk in ((1, np.nan), (40, np.inf)):
        x = jnp.concatenate([inputs(20), jnp.full((BATCH, more, WIDTH), junk)], 1)
        padded, padded_y = gradient(x, jnp.arange(20 + more) < 20)
        np.testing.assert_allclose(padded_y[:, :20], y, rtol=FLOAT32, atol=FLOAT32)
        np.testing.assert_allclose(padded[:, :20], alone, rtol=FLOAT32_GRADIENT, atol=FLOAT32_GRADIENT)
        assert not padded[:, 20:].any()


def test_the_gradient_is_that_of_the_loop():
    """By differences of the loop in float64, along a random direction that changes no bucket."""
    mixer, x, step = small(), inputs(14), 1e-5
    direction = np.random.default_rng(0).normal(size=x.shape[1:])
    weights = np.sin(np.arange(WIDTH))
    computed = jax.jit(jax.grad(lambda x: jnp.sum(weights * mixer(x)[0])))(x)[0]
    ahead, behind = (loop(mixer, np.asarray(x[0], float) + sign * step * direction) for sign in (1, -1))
    expected = np.sum(weights * (ahead - behind)) / (2 * step)
    np.testing.assert_allclose(np.sum(computed * direction), expected, rtol=FLOAT32_GRADIENT, atol=FLOAT32_GRADIENT)


def test_similar_positions_meet_wherever_they_stand():
    """Two copies of each of eight directions, far apart in time: each takes its value from the other."""
    directions = 20 * np.eye(8)[:, None].repeat(2, 1)
    order = np.random.default_rng(0).permutation(16)
    q = jnp.asarray(directions.reshape(16, 1, 1, 8)[order].transpose(1, 0, 2, 3), jnp.float32)
    v = jax.random.normal(jax.random.key(0), q.shape)
    # A bucket for every direction, so that both copies are in one chunk.
    assert len(np.unique(lsh_buckets(q, buckets=512, rounds=1, seed=1))) == 8
    y = jax.jit(partial(lsh_attention, chunk=4, buckets=512, rounds=1, seed=1))(q, v)
    partner = np.array([np.flatnonzero((order // 2 == i // 2) & (order != i))[0] for i in order])
    np.testing.assert_allclose(y, v[:, partner], rtol=FLOAT32, atol=FLOAT32)


def test_buckets_are_those_of_the_rotations_and_every_round_has_its_own():
    q = jax.random.normal(jax.random.key(0), (1, 50, 2, 4))
    found = jax.jit(lambda q: lsh_buckets(q, buckets=6, rounds=3, seed=5))(q)
    for n, r in np.ndindex(2, 3):
        expected = buckets_by_hand(np.asarray(q[0, :, n], float), n, r, rounds=3, buckets=6, seed=5)
        assert found[0, :, n, r].tolist() == expected and set(expected) == set(range(6))
    # Angles alone count, and the opposite direction is half the buckets away.
    np.testing.assert_array_equal(lsh_buckets(7 * q, buckets=6, rounds=3, seed=5), found)
    np.testing.assert_array_equal(lsh_buckets(-q, buckets=6, rounds=3, seed=5), (found + 3) % 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 8; got 3"),
        ({"buckets": 5}, "buckets must be an even number from 2; got 5"),
        ({"buckets": 0}, "got 0"),
        ({"chunk": 0}, "chunk must be at least 1; got 0"),
        ({"rounds": 0}, "rounds must be at least 1; got 0"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)


def test_impossible_sizes_of_the_operation():
    q = jnp.zeros((1, 4, 1, 2))
    with pytest.raises(ValueError, match="got 0, 1 and 3"):
        lsh_attention(q, q, chunk=0, buckets=3, rounds=1, seed=0)
