"""The attention models of the Long Range Arena's own table: loops over positions in float64, for true lengths."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.mixers.axial_attention import AxialAttention
from ssm_bench.mixers.linformer import Linformer
from ssm_bench.mixers.local_attention import LocalAttention
from ssm_bench.mixers.longformer import Longformer
from ssm_bench.mixers.sinkhorn import Sinkhorn
from ssm_bench.mixers.sparse_attention import SparseAttention
from ssm_bench.mixers.synthesizer import Synthesizer

WIDTH, HEADS, LENGTH, MAX_LENGTH = 8, 2, 17, 20
# Sums of a few dozen terms in float32.
FLOAT32 = 1e-5
# The Sinkhorn normalization passes sums of keys through several exponentials.
FLOAT32_SORTED = 5e-5

#: Kinds and options, with whom each position i sees among n.
PATTERNS = {
    "local": (LocalAttention, {"block": 5}, lambda i, j: i // 5 == j // 5),
    "strided": (SparseAttention, {"block": 4}, lambda i, j: abs(i - j) < 4 or (i - j) % 4 == 0),
    "fixed": (
        SparseAttention,
        {"pattern": "fixed", "block": 4, "summary": 2, "global_positions": 1},
        lambda i, j: i // 4 == j // 4 or j % 4 >= 2 or i == 0 or j == 0,
    ),
    "window": (Longformer, {"window": 3, "global_positions": 0}, lambda i, j: abs(i - j) < 3),
    "longformer": (Longformer, {"window": 3, "global_positions": 2}, lambda i, j: abs(i - j) < 3 or j < 2),
}


def make(kind, **options):
    return kind(WIDTH, **{"heads": HEADS} | options, rngs=nnx.Rngs(0))


def inputs(length=LENGTH, seed=1):
    return jax.random.normal(jax.random.key(seed), (2, length, WIDTH))


def kernel(linear):
    return np.asarray(linear.kernel[...], float)


def split(x, linear):
    """(l, h) -> (n, l, d)."""
    return (x @ kernel(linear)).reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def softmax(scores, values):
    weights = np.exp(scores - scores.max())
    return weights @ values / weights.sum()


def pattern_loop(mixer, x, sees):
    """One head and position after the other."""
    q, k, v = (split(x, m) for m in (mixer.query, mixer.keys, mixer.values))
    y = np.zeros_like(q)
    for n, i in np.ndindex(HEADS, len(x)):
        rows, keys, values = q, k, v
        seen = [j for j in range(len(x)) if sees(i, j)]
        if isinstance(mixer, Longformer) and i < mixer.global_positions:
            rows, keys, values = (split(x, m) for m in (mixer.global_query, mixer.global_keys, mixer.global_values))
            seen = range(len(x))
        scores = [rows[n, i] @ keys[n, j] / np.sqrt(rows.shape[-1]) for j in seen]
        y[n, i] = softmax(np.array(scores), values[n, list(seen)])
    return y.transpose(1, 0, 2).reshape(len(x), -1) @ kernel(mixer.out)


def axial_loop(mixer, x):
    """Along rows, and then along columns, whose maps take the place of the first ones."""
    y = pattern_loop(mixer, x, lambda i, j: i // mixer.block == j // mixer.block)
    maps = ("query", "keys", "values", "out")
    columns = SimpleNamespace(**{name: getattr(mixer, f"column_{name}") for name in maps})
    return pattern_loop(columns, y, lambda i, j: (i - j) % mixer.block == 0)


def linformer_loop(mixer, x):
    q, k, v = (split(x, m) for m in (mixer.query, mixer.keys, mixer.values))
    mixtures = np.asarray(mixer.mixtures[...], float)
    y = np.zeros_like(q)
    for n in range(HEADS):
        keys, values = (sum(np.outer(mixtures[j], t[n, j]) for j in range(len(x))) for t in (k, v))
        for i in range(len(x)):
            y[n, i] = softmax(keys @ q[n, i] / np.sqrt(q.shape[-1]), values)
    return y.transpose(1, 0, 2).reshape(len(x), -1) @ kernel(mixer.out)


def order_by_hand(mixer, k, blocks):
    """The matrix of one head that puts blocks at places, from its keys (l, d)."""
    sums = np.array([k[s * mixer.block : (s + 1) * mixer.block].sum(0) for s in range(blocks)])
    order = np.exp((sums @ kernel(mixer.sort))[:, :blocks])
    for _ in range(mixer.iterations):
        order = order / order.sum(1, keepdims=True)
        order = order / order.sum(0, keepdims=True)
    return order


def sinkhorn_loop(mixer, x):
    q, k, v = (split(x, m) for m in (mixer.query, mixer.keys, mixer.values))
    blocks, w, y = -(-len(x) // mixer.block), mixer.block, np.zeros_like(q)
    for n in range(HEADS):
        order = order_by_hand(mixer, k[n], blocks)
        for i in range(len(x)):
            place = i // w
            own = [j for j in range(len(x)) if j // w == place]
            keys, values = np.zeros((2, min(w, len(x)), q.shape[-1]))
            for j in range(len(x)):
                keys[j % w] += order[j // w, place] * k[n, j]
                values[j % w] += order[j // w, place] * v[n, j]
            root = np.sqrt(q.shape[-1])
            y[n, i] = softmax(k[n, own] @ q[n, i] / root, v[n, own]) + softmax(keys @ q[n, i] / root, values)
    return y.transpose(1, 0, 2).reshape(len(x), -1) @ kernel(mixer.out)


def synthesizer_loop(mixer, x):
    v = split(x, mixer.values)
    y = np.zeros_like(v)
    for n, i in np.ndindex(HEADS, len(x)):
        scores = np.zeros(len(x))
        for j in range(len(x)):
            if mixer.scores == "dense":
                hidden = np.maximum(split(x, mixer.query)[n, i], 0)
                scores[j] = hidden @ np.asarray(mixer.positions[...], float)[:, j]
            elif mixer.scores == "factorized":
                scores[j] = np.asarray(mixer.rows[n, i], float) @ np.asarray(mixer.columns[n, :, j], float)
            else:
                scores[j] = mixer.random[n, i, j]
            if mixer.scores != "dense" and mixer.dot_product:
                q, k = split(x, mixer.query), split(x, mixer.keys)
                scores[j] += q[n, i] @ k[n, j] / np.sqrt(q.shape[-1])
        y[n, i] = softmax(scores, v[n])
    return y.transpose(1, 0, 2).reshape(len(x), -1) @ kernel(mixer.out)


CASES = {name: (kind, options, partial(pattern_loop, sees=sees)) for name, (kind, options, sees) in PATTERNS.items()}
CASES |= {
    "axial": (AxialAttention, {"block": 4}, axial_loop),
    "linformer": (Linformer, {"rank": 3, "max_length": MAX_LENGTH}, linformer_loop),
    "sinkhorn": (Sinkhorn, {"block": 4, "iterations": 3, "max_length": MAX_LENGTH}, sinkhorn_loop),
    "random": (Synthesizer, {"max_length": MAX_LENGTH}, synthesizer_loop),
    "random alone": (Synthesizer, {"max_length": MAX_LENGTH, "dot_product": False}, synthesizer_loop),
    "factorized": (Synthesizer, {"scores": "factorized", "rank": 3, "max_length": MAX_LENGTH}, synthesizer_loop),
    "dense": (Synthesizer, {"scores": "dense", "max_length": MAX_LENGTH}, synthesizer_loop),
}


# One example fills the padded length, the other ends inside a block.
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_loop(name):
    kind, options, loop = CASES[name]
    mixer, lengths = make(kind, **options), (LENGTH, 6)
    there = jnp.arange(LENGTH) < jnp.array(lengths)[:, None]
    x = jnp.where(there[..., None], inputs(), 0.0)
    y = jax.jit(mixer)(x, there)
    tolerance = FLOAT32_SORTED if name == "sinkhorn" else FLOAT32
    for row, true in enumerate(lengths):
        expected = loop(mixer, np.asarray(x[row, :true], float))
        np.testing.assert_allclose(y[row, :true], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(jax.jit(mixer)(x)[0], y[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", PATTERNS)
def test_gradients_of_the_parts_are_those_of_one_masked_softmax(name):
    kind, options, sees = PATTERNS[name]
    mixer = make(kind, **options)
    q, k, v = (inputs(seed=s).reshape(2, LENGTH, HEADS, -1) for s in range(3))
    lengths = jnp.array([LENGTH, 6])
    # Rows of global positions of a Longformer have projections of their own.
    rows = slice(mixer.global_positions if kind is Longformer else 0, None)
    true = (jnp.arange(LENGTH) < lengths[:, None])[:, rows, None, None]
    mask = np.array([[sees(i, j) for j in range(LENGTH)] for i in range(LENGTH)])
    mask = mask & (np.arange(LENGTH) < np.array(lengths)[:, None, None, None])

    def attend(q, k, v):
        return mixer.attend(jnp.zeros((2, LENGTH, WIDTH)), q, k, v, lengths)

    def masked(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, mask=mask)

    def gradients(function):
        return jax.jit(jax.grad(lambda *t: jnp.sum(jnp.sin(function(*t))[:, rows] * true), (0, 1, 2)))(q, k, v)

    jax.tree.map(partial(np.testing.assert_allclose, rtol=FLOAT32, atol=FLOAT32), gradients(attend), gradients(masked))


def test_blocks_and_windows_longer_than_the_sequence_see_all_of_it():
    q, k, v = (inputs(seed=s).reshape(2, LENGTH, HEADS, -1) for s in range(3))
    lengths, long = jnp.array([LENGTH, 6]), 10**9
    full = jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=lengths)
    for attend in (
        partial(ops.block_attention, block=long),
        partial(ops.window_attention, window=long, first=2),
        partial(ops.sparse_attention, pattern="strided", block=long),
        partial(ops.sparse_attention, pattern="fixed", block=long, summary=long - 1),
    ):
        y = jax.jit(attend)(q, k, v, lengths=lengths)
        for row, true in enumerate(lengths):
            np.testing.assert_allclose(y[row, :true], full[row, :true], rtol=FLOAT32, atol=FLOAT32)


def test_the_order_of_blocks_is_doubly_stochastic_and_can_be_a_permutation():
    scores = jax.random.normal(jax.random.key(0), (1, 1, 6, 6))
    order = np.asarray(jax.jit(partial(ops.sinkhorn, iterations=30))(scores, jnp.array([4])))[0, 0]
    assert not order[4:].any() and not order[:, 4:].any()
    np.testing.assert_allclose(order[:4, :4].sum(0), 1, rtol=FLOAT32)
    np.testing.assert_allclose(order[:4, :4].sum(1), 1, rtol=FLOAT32)

    places = np.array([2, 0, 3, 1])
    q, k, v = (inputs(16, seed).reshape(2, 16, HEADS, -1) for seed in range(3))
    wanted = jnp.broadcast_to(100.0 * jnp.eye(4)[places], (2, HEADS, 4, 4))
    y = jax.jit(partial(ops.sinkhorn_attention, block=4, iterations=2))(q, k, v, wanted)
    # Block s stands at place places[s]: place p sees its own block and the one that was put there.
    moved = np.argsort(places)[np.arange(16) // 4] * 4 + np.arange(16) % 4
    in_blocks = jax.jit(partial(ops.block_attention, block=4))
    expected = in_blocks(q, k, v) + in_blocks(q, k[:, moved], v[:, moved])
    np.testing.assert_allclose(y, expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LocalAttention, {"block": 0}, "block must be at least 1; got 0"),
        (AxialAttention, {"block": 0}, "block must be at least 1; got 0"),
        (LocalAttention, {"heads": 3}, "heads must divide the width 8; got 3"),
        (SparseAttention, {"pattern": "stride"}, "unknown pattern 'stride' .did you mean strided"),
        (SparseAttention, {"block": 4, "summary": 5}, "summary must lie in 0..block, and block is 4; got 5"),
        (SparseAttention, {"global_positions": -1}, "global_positions must be at least 0; got -1"),
        (Longformer, {"window": 0}, "window must be at least 1; got 0"),
        (Linformer, {"rank": 0}, "rank must be at least 1; got 0"),
        (Sinkhorn, {"iterations": 0}, "iterations must be at least 1; got 0"),
        (Synthesizer, {"scores": "denser"}, "unknown scores 'denser' .did you mean dense"),
        (Synthesizer, {"rank": 0}, "rank must be at least 1; got 0"),
    ],
)
def test_impossible_options(kind, options, message):
    with pytest.raises(UserError, match=message):
        make(kind, **options)


@pytest.mark.parametrize("kind", [Linformer, Sinkhorn, Synthesizer])
def test_a_sequence_longer_than_the_longest_is_refused(kind):
    mixer = make(kind, max_length=4, **({"block": 2} if kind is Sinkhorn else {}))
    with pytest.raises(UserError, match="takes inputs of up to"):
        mixer(inputs(7))


def test_impossible_sizes_of_the_operations():
    q = jnp.zeros((1, 4, 1, 2))
    with pytest.raises(ValueError, match="at least 1 position, got 0"):
        ops.block_attention(q, q, q, block=0)
    with pytest.raises(ValueError, match=r"summary must lie in 0..block, got 3 and block 2"):
        ops.sparse_attention(q, q, q, pattern="fixed", block=2, summary=3)
    with pytest.raises(ValueError, match="at least 1, got 2 and 0"):
        ops.sinkhorn_attention(q, q, q, q, block=2, iterations=0)
    with pytest.raises(ValueError, match="a bias needs window 0, got 2"):
        ops.attention(q, q, q, window=2, bias=jnp.zeros((1, 4, 4)))
