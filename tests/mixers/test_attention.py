"""Attention: windows, shared keys and rotary positions, for whole sequences and in streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.attention import Attention

BATCH, LENGTH, WIDTH = 2, 13, 16
# Softmax is float32 whatever it is given: sums of a few dozen terms.
FLOAT32 = 1e-5


def small(**options):
    return Attention(WIDTH, **{"heads": 4, "rngs": nnx.Rngs(0)} | options)


def inputs(length=LENGTH):
    return jax.random.normal(jax.random.key(1), (BATCH, length, WIDTH))


def turned(x, t, channels):
    """One head (d,) at position t with rotary positions on its first channels, in complex numbers."""
    pairs = channels // 2
    z = (x[:pairs] + 1j * x[pairs : 2 * pairs]) * np.exp(1j * t * 1e4 ** (-np.arange(pairs) / pairs))
    return np.concatenate([z.real, z.imag, x[2 * pairs :]])


def loop(mixer, x, window, causal):
    """Every position and head by itself, in float64, for one sequence (l, h)."""
    maps = (mixer.query, mixer.keys, mixer.values, mixer.out)
    query, keys, values, out = (np.asarray(linear.kernel[...], float) for linear in maps)
    x = np.asarray(x, float)
    size, y, channels = mixer.size, [], mixer.turned or mixer.size // 2
    for i in range(len(x)):
        seen = [j for j in range(len(x)) if abs(i - j) < window and (j <= i or not causal)]
        heads = []
        for n in range(query.shape[1] // size):
            shared = slice(*(size * (n * keys.shape[1] // query.shape[1] + np.arange(2))))
            q = turned((x[i] @ query)[n * size : (n + 1) * size], i, channels)
            scores = np.array([q @ turned((x[j] @ keys)[shared], j, channels) for j in seen]) / np.sqrt(size)
            weights = np.exp(scores - scores.max())
            heads.append(weights @ np.array([(x[j] @ values)[shared] for j in seen]) / weights.sum())
        y.append(np.concatenate(heads) @ out)
    return np.array(y)


@pytest.mark.parametrize(
    ("kv_heads", "window", "bidirectional", "whole_heads"),
    [(1, 4, False, False), (2, 5, True, False), (4, 0, False, False), (4, 0, True, True)],
)
def test_it_is_the_loop(kv_heads, window, bidirectional, whole_heads):
    mixer = small(kv_heads=kv_heads, window=window, rotary=True, bidirectional=bidirectional, whole_heads=whole_heads)
    lengths = (LENGTH, 8)
    y = jax.jit(mixer)(inputs(), jnp.arange(LENGTH) < jnp.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        expected = loop(mixer, inputs()[row, :length], window or LENGTH, not bidirectional)
        np.testing.assert_allclose(y[row, :length], expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("window", [1, 4, 30])
def test_streams_of_any_length_need_a_window_of_state(window):
    mixer = small(kv_heads=2, window=window, rotary=True, bidirectional=False, max_steps=1, whole_heads=window == 4)
    y, state = jax.jit(mixer.extend)(inputs(23), mixer.initial_state(BATCH))
    np.testing.assert_allclose(y, jax.jit(mixer)(inputs(23)), rtol=FLOAT32, atol=FLOAT32)
    carried = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert sum(leaf[0].size for leaf in carried) == mixer.state_size == 2 * window * 2 * 4


def test_a_position_far_down_a_stream_is_as_exact_as_the_first():
    """The same window of inputs gives the same output after ten million positions."""
    mixer = small(kv_heads=1, window=4, rotary=True, bidirectional=False)
    extend = jax.jit(mixer.extend)
    late = mixer.initial_state(BATCH) | {"seen": jnp.full(BATCH, 10_000_000)}
    near, _ = extend(inputs(), mixer.initial_state(BATCH))
    far, _ = extend(inputs(), late)
    np.testing.assert_allclose(far[:, 3:], near[:, 3:], rtol=FLOAT32, atol=FLOAT32)


def test_without_a_window_the_last_steps_are_kept():
    mixer = small(bidirectional=False, max_steps=LENGTH)
    assert mixer.state_size is None
    y, _ = jax.jit(mixer.extend)(inputs(), mixer.initial_state(BATCH))
    np.testing.assert_allclose(y, jax.jit(mixer)(inputs()), rtol=FLOAT32, atol=FLOAT32)
    forgetful = small(bidirectional=False, max_steps=4)
    y, _ = jax.jit(forgetful.extend)(inputs(), forgetful.initial_state(BATCH))
    windowed = small(bidirectional=False, window=4)
    np.testing.assert_allclose(y, jax.jit(windowed)(inputs()), rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 16; got 3"),
        ({"kv_heads": 3}, "kv_heads must divide heads 4; got 3"),
        ({"kv_heads": -1}, "got -1"),
        ({"window": -1}, "got window -1 and max_steps 1024"),
        ({"max_steps": 0}, "max_steps 0"),
        ({"whole_heads": True}, "whole_heads needs rotary=true; got rotary=false"),
        ({"heads": 8, "rotary": True}, "multiple of 4 channels; got 8 heads of 2 in a width of 16"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
