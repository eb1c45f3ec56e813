"""BigBird: the loop over blocks, true lengths, and what the random blocks depend on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.bigbird import BigBird
from ssm_bench.network.scaffold import run_part
from ssm_bench.ops import block_sparse_attention, choose_random_blocks

BATCH, WIDTH, BLOCK = 2, 8, 3
# Softmax is float32 whatever it is given: sums of a few dozen terms.
FLOAT32 = 1e-5
# A sum of squares of outputs is made of a thousand terms.
FLOAT32_GRADIENT = 1e-4


def small(**options):
    return BigBird(WIDTH, **{"heads": 2, "block": BLOCK, "random_blocks": 2, "rngs": nnx.Rngs(0)} | options)


def inputs(length, seed=1):
    return jax.random.normal(jax.random.key(seed), (BATCH, length, WIDTH))


def drawn_by_hand(last, row, head, *, heads=2, number=2, seed=0):
    """The blocks that one block of queries wants most, of those that are free to be drawn."""
    wanted = np.random.default_rng((seed, row)).random((last + 1, heads))[:, head]
    free = [j for j in range(1, last) if abs(j - row) > 1]
    return sorted(free, key=lambda j: -wanted[j])[:number]


def loop(mixer, x):
    """Every position and head by itself, in float64, for one sequence (l, h)."""
    maps = (mixer.query, mixer.keys, mixer.values, mixer.out)
    query, keys, values, out = (np.asarray(linear.kernel[...], float) for linear in maps)
    x, size = np.asarray(x, float), query.shape[1] // mixer.heads
    last, y = (len(x) - 1) // BLOCK, []
    for i in range(len(x)):
        row, heads = i // BLOCK, []
        for n in range(mixer.heads):
            blocks = {0, last, row - 1, row, row + 1} | set(drawn_by_hand(last, row, n, number=mixer.random_blocks))
            seen = [j for j in range(len(x)) if row in (0, last) or j // BLOCK in blocks]
            part = slice(n * size, (n + 1) * size)
            scores = np.array([(x[i] @ query)[part] @ (x[j] @ keys)[part] for j in seen]) / np.sqrt(size)
            weights = np.exp(scores - scores.max())
            heads.append(weights @ np.array([(x[j] @ values)[part] for j in seen]) / weights.sum())
        y.append(np.concatenate(heads) @ out)
    return np.array(y)


# Padding of whole blocks and of parts of one; lengths of one block, of two, and too few for all random ones.
@pytest.mark.parametrize(("length", "lengths"), [(31, (31, 20)), (27, (24, 4)), (13, (1, 13)), (7, (3, 6))])
def test_it_is_the_loop(length, lengths):
    mixer = small()
    y = jax.jit(mixer)(inputs(length), jnp.arange(length) < jnp.array(lengths)[:, None])
    for row, true in enumerate(lengths):
        np.testing.assert_allclose(y[row, :true], loop(mixer, inputs(length)[row, :true]), rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("random_blocks", [0, 20])
def test_it_is_the_loop_without_padding(random_blocks):
    mixer = small(random_blocks=random_blocks)
    for computed, x in zip(jax.jit(mixer)(inputs(28)), inputs(28), strict=True):
        np.testing.assert_allclose(computed, loop(mixer, x), rtol=FLOAT32, atol=FLOAT32)


def test_blocks_as_long_as_the_sequence_are_full_attention():
    q, k, v = (inputs(12, seed).reshape(BATCH, 12, 2, 4) for seed in range(3))
    y = jax.jit(partial(block_sparse_attention, block=64, random_blocks=3, seed=0))(q, k, v)
    np.testing.assert_allclose(y, jax.nn.dot_product_attention(q, k, v), rtol=FLOAT32, atol=FLOAT32)


def test_values_and_gradients_are_those_without_padding():
    """Whatever stands in the padding, and however much of it there is."""
    mixer = small()

    def loss(x, mask, true):
        return jnp.sum(jnp.where(true[:, None], run_part(mixer, x, mask), 0.0) ** 2)

    @jax.jit
    def gradient(x, true):
        return jax.grad(loss)(x, jnp.broadcast_to(true, x.shape[:2]), true)

    alone = jax.jit(jax.grad(loss), static_argnums=1)(inputs(20), None, jnp.ones(20, bool))
    for more, junk in ((1, np.nan), (40, np.inf)):
        x = jnp.concatenate([inputs(20), jnp.full((BATCH, more, WIDTH), junk)], 1)
        padded = gradient(x, jnp.arange(20 + more) < 20)
        np.testing.assert_allclose(padded[:, :20], alone, rtol=FLOAT32_GRADIENT, atol=FLOAT32_GRADIENT)
        assert not padded[:, 20:].any()


@pytest.mark.parametrize("lengths", [None, (26, 17)])
def test_the_gradient_is_that_of_the_loop(lengths):
    """By differences of the loop in float64, along a random direction."""
    mixer, x, step = small(), inputs(26), 1e-5
    mask = lengths and jnp.arange(26) < jnp.array(lengths)[:, None]
    weights = np.sin(np.arange(WIDTH))
    direction = np.random.default_rng(0).normal(size=x.shape)

    @jax.jit
    @jax.grad
    def computed(x):
        return jnp.sum(weights * (mixer(x) if mask is None else jnp.where(mask[..., None], mixer(x, mask), 0.0)))

    gradient = computed(x)
    for row, true in enumerate(lengths or (26, 26)):
        there = np.asarray(x[row, :true], float)
        ahead, behind = (loop(mixer, there + sign * step * direction[row, :true]) for sign in (1, -1))
        expected = np.sum(weights * (ahead - behind)) / (2 * step)
        found = np.sum(gradient[row] * direction[row])
        np.testing.assert_allclose(found, expected, rtol=FLOAT32_GRADIENT, atol=FLOAT32_GRADIENT)


def test_random_blocks_depend_on_the_true_number_of_blocks_and_not_on_the_padded_one():
    last = jnp.array([30, 4, 0])
    many, there = choose_random_blocks(last, 31, heads=2, number=3, seed=0)
    for example, blocks in enumerate(np.asarray(last) + 1):
        few, also = choose_random_blocks(last[example : example + 1], int(blocks), heads=2, number=3, seed=0)
        drawn = few.shape[-1]
        np.testing.assert_array_equal(there[example, :, :blocks, :drawn], also[0])
        assert not there[example, :, :blocks, drawn:].any()
        np.testing.assert_array_equal(
            jnp.where(also, many[example, :, :blocks, :drawn], 0)[0], jnp.where(also, few, 0)[0]
        )
        for head, row in np.ndindex(2, int(blocks)):
            expected = drawn_by_hand(blocks - 1, row, head, number=3)
            assert few[0, head, row][also[0, head, row]].tolist() == expected


def test_draws_differ_between_heads_and_seeds_and_reach_every_block():
    last = jnp.array([40])
    first, other = (choose_random_blocks(last, 41, heads=4, number=3, seed=seed)[0] for seed in (0, 1))
    assert (first != other).any() and (first[:, 0] != first[:, 1]).any()
    assert set(np.unique(first)) == set(range(1, 40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 8; got 3"),
        ({"heads": 0}, "got 0"),
        ({"block": 0}, "block must be at least 1; got 0"),
        ({"random_blocks": -1}, "random_blocks must be at least 0; got -1"),
        ({"seed": -1}, "seed must be at least 0; got -1"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)


def test_impossible_sizes_of_the_operation():
    q = jnp.zeros((1, 4, 1, 2))
    with pytest.raises(ValueError, match="got 0 and -1"):
        block_sparse_attention(q, q, q, block=0, random_blocks=-1, seed=0)
