"""Luna: both attentions in loops, in float64, for examples longer and shorter than the context."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.luna import Luna

CONTEXT, LENGTH, WIDTH = 5, 13, 8
# Two softmax in float32 behind each other: sums of a few dozen terms.
FLOAT32 = 1e-5


def small(**options):
    mixer = Luna(WIDTH, **{"context": CONTEXT, "heads": 2, "rngs": nnx.Rngs(0)} | options)
    # So that no bias goes unseen.
    for linear in (mixer.pack_query, mixer.pack_values, mixer.query, mixer.values, mixer.out):
        linear.bias[...] = jnp.sin(1.0 + jnp.arange(WIDTH))
    return mixer


def inputs():
    return np.asarray(jax.random.normal(jax.random.key(1), (3, CONTEXT + LENGTH, WIDTH)))


def test_projections_start_with_the_variance_of_the_authors():
    mixer = Luna(200, context=CONTEXT, heads=2, rngs=nnx.Rngs(0))
    for linear in (mixer.pack_query, mixer.pack_values, mixer.query, mixer.values):
        # Of 40,000 draws.
        assert 200 * float(linear.kernel[...].var()) == pytest.approx(0.5, rel=0.05)


def through(linear, x):
    bias = 0.0 if linear.bias is None else np.asarray(linear.bias[...], float)
    return x @ np.asarray(linear.kernel[...], float) + bias


def attention(heads, queries, keys, values):
    """Each query and head by itself: (m, h) from (m, h), (k, h), (k, h)."""
    size, y = WIDTH // heads, np.zeros_like(queries)
    for i, head in np.ndindex(len(queries), heads):
        own = slice(head * size, (head + 1) * size)
        weights = np.array([np.exp(queries[i, own] @ key[own] / np.sqrt(size)) for key in keys])
        for weight, value in zip(weights / weights.sum(), values, strict=True):
            y[i, own] += weight * value[own]
    return y


def loop(mixer, p, x):
    """The vectors (p, h) and one sequence (n, h), both as they come out."""
    packed = attention(
        mixer.heads, through(mixer.pack_query, p), through(mixer.pack_keys, x), through(mixer.pack_values, x)
    )
    seen = packed[: len(x)]
    y = attention(mixer.heads, through(mixer.query, x), through(mixer.keys, seen), through(mixer.values, seen))
    return np.concatenate([packed, through(mixer.out, y)])


@pytest.mark.parametrize("heads", [1, 4])
def test_it_is_the_loop_at_the_true_length(heads):
    mixer, lengths = small(heads=heads), (LENGTH, 7, 3)
    y = jax.jit(mixer)(inputs(), jnp.arange(CONTEXT + LENGTH) < CONTEXT + jnp.array(lengths)[:, None])
    for row, n in enumerate(lengths):
        p, x = np.split(inputs()[row].astype(float), [CONTEXT])
        np.testing.assert_allclose(y[row, : CONTEXT + n], loop(mixer, p, x[:n]), rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_allclose(jax.jit(mixer)(inputs())[0], y[0], rtol=FLOAT32, atol=FLOAT32)


def test_gradients_at_a_length_do_not_depend_on_how_far_it_is_padded():
    mixer, n = small(), 3
    mask = jnp.broadcast_to(jnp.arange(CONTEXT + LENGTH) < CONTEXT + n, (3, CONTEXT + LENGTH))

    @jax.jit
    def gradient(x, mask):
        return jax.grad(lambda x: jnp.sin(mixer(x, mask)[:, : CONTEXT + n]).sum())(x)

    padded, cut = gradient(inputs(), mask), gradient(inputs()[:, : CONTEXT + n], None)
    np.testing.assert_allclose(padded[:, : CONTEXT + n], cut, rtol=FLOAT32, atol=FLOAT32)
    np.testing.assert_array_equal(padded[:, CONTEXT + n :], 0)


def test_no_array_is_quadratic_in_the_length():
    mixer, length = small(), 1000
    x = jax.ShapeDtypeStruct((1, CONTEXT + length, WIDTH), jnp.float32)
    program = jax.jit(jax.grad(lambda x: mixer(x).sum())).lower(x).as_text()
    shapes = [[int(axis) for axis in shape.split("x")] for shape in re.findall(r"tensor<([\dx]+)x[a-z]", program)]
    assert [1, 2, CONTEXT, length] in shapes
    assert all(sum(axis >= length for axis in shape) < 2 for shape in shapes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 8; got 3"),
        ({"heads": 0}, "heads must divide the width 8; got 0"),
        ({"context": 0}, "context must be at least 1 with the mixer luna; got 0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)


def test_a_sequence_has_to_be_longer_than_the_context():
    with pytest.raises(UserError, match=r"of more positions than its context 5; got 5"):
        small()(inputs()[:, :CONTEXT])
