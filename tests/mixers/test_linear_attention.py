"""Linear attention: the loop over positions, chunks of a stream, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.linear_attention import LinearAttention

from .feature_checks import loop

BATCH, LENGTH, WIDTH = 2, 13, 16
# Sums of a few dozen terms in float32.
FLOAT32 = 1e-5


def small(**options):
    return LinearAttention(WIDTH, **{"heads": 4, "rngs": nnx.Rngs(0)} | options)


def inputs(length=LENGTH):
    return jax.random.normal(jax.random.key(1), (BATCH, length, WIDTH))


def phi(head, queries):
    return np.array([c + 1 if c > 0 else np.exp(c) for c in head])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("width", [0, 8])
def test_it_is_the_loop(bidirectional, width):
    mixer = small(bidirectional=bidirectional, width=width)
    lengths = (LENGTH, 8)
    y = jax.jit(mixer)(inputs(), jnp.arange(LENGTH) < jnp.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        expected = loop(mixer, inputs()[row, :length], phi, causal=not bidirectional, epsilon=1e-6)
        np.testing.assert_allclose(y[row, :length], expected, rtol=FLOAT32, atol=FLOAT32)


def test_a_stream_in_chunks_is_the_sequence_with_a_state_of_constant_size():
    mixer = small(bidirectional=False)
    extend = jax.jit(mixer.extend)
    x, state, outputs = inputs(300), mixer.initial_state(BATCH), []
    for begin, end in ((0, 1), (1, 200), (200, 300)):
        y, state = extend(x[:, begin:end], state)
        outputs.append(y)
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), jax.jit(mixer)(x), rtol=FLOAT32, atol=FLOAT32)
    assert sum(leaf[0].size for leaf in jax.tree.leaves(state)) == mixer.state_size == 4 * 4 * (4 + 1)


def test_keys_of_any_size_give_finite_gradients():
    mixer = small()
    gradient = jax.jit(jax.grad(lambda x: mixer(x).sum()))
    for size in (0.0, 1e3, 1e6):
        assert np.isfinite(gradient(size * inputs())).all(), size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 16; got 3"),
        ({"heads": 0}, "got 0"),
        ({"heads": 4, "width": 10}, "heads must divide the width 10; got 4"),
        ({"width": -4}, "width must be at least 0; got -4"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
