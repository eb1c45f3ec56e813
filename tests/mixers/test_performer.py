"""Performer: the loop over positions for each kernel, what random features tend to, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.attention import Attention
from ssm_bench.mixers.performer import Performer

from .feature_checks import loop

BATCH, LENGTH, WIDTH = 2, 13, 16
# Sums of a few dozen terms in float32; exponentials of numbers up to ten.
FLOAT32 = 2e-5
# Means of some ten thousand random features in place of their limit.
RANDOM = 0.03

KINDS = [("relu", 0), ("relu", 6), ("softmax", 2), ("softmax", 9)]


def small(**options):
    return Performer(WIDTH, **{"heads": 4, "rngs": nnx.Rngs(0)} | options)


def inputs(length=LENGTH):
    return jax.random.normal(jax.random.key(1), (BATCH, length, WIDTH))


def features_of(mixer):
    """The kernel's features of one head, feature by feature."""
    rows = np.eye(mixer.size) if mixer.projection is None else np.asarray(mixer.projection[...], float)

    def relu(head, queries):
        return np.array([max(0.0, row @ head) + 1e-3 for row in rows])

    def softmax(head, queries):
        z = head / mixer.size**0.25
        # What is added to features of keys where all are seen is less than the tolerance.
        shift, added = (max(row @ z for row in rows), 1e-6) if queries else (z @ z / 2, 0)
        return np.array([np.exp(row @ z - shift) + added for row in rows])

    return relu if mixer.kernel == "relu" else softmax


@pytest.mark.parametrize(("kernel", "random_features"), KINDS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_it_is_the_loop(kernel, random_features, bidirectional):
    mixer = small(kernel=kernel, random_features=random_features, bidirectional=bidirectional)
    lengths = (LENGTH, 8)
    y = jax.jit(mixer)(inputs(), jnp.arange(LENGTH) < jnp.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        expected = loop(mixer, inputs()[row, :length], features_of(mixer), causal=not bidirectional)
        np.testing.assert_allclose(y[row, :length], expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(("kernel", "random_features"), KINDS)
def test_a_stream_in_chunks_is_the_sequence_with_a_state_of_constant_size(kernel, random_features):
    mixer = small(kernel=kernel, random_features=random_features, bidirectional=False)
    extend = jax.jit(mixer.extend)
    x, state, outputs = inputs(300), mixer.initial_state(BATCH), []
    for begin, end in ((0, 1), (1, 200), (200, 300)):
        y, state = extend(x[:, begin:end], state)
        outputs.append(y)
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), jax.jit(mixer)(x), rtol=FLOAT32, atol=FLOAT32)
    assert sum(leaf[0].size for leaf in jax.tree.leaves(state)) == mixer.state_size
    assert mixer.state_size == 4 * (random_features or 4) * (4 + 1)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_with_many_random_features_it_is_softmax_attention(bidirectional):
    options = {"heads": 4, "bidirectional": bidirectional, "rngs": nnx.Rngs(0)}
    mixer, exact = small(**options, kernel="softmax", random_features=30_000), Attention(WIDTH, **options)
    for name in ("query", "keys", "values", "out"):
        getattr(exact, name).kernel[...] = getattr(mixer, name).kernel[...]
    x = inputs() / 2
    error = jnp.linalg.norm(jax.jit(mixer)(x) - jax.jit(exact)(x)) / jnp.linalg.norm(exact(x))
    assert error < RANDOM


@pytest.mark.parametrize(("kernel", "random_features"), KINDS)
def test_inputs_of_any_size_give_finite_gradients(kernel, random_features):
    mixer = small(kernel=kernel, random_features=random_features)
    gradient = jax.jit(jax.grad(lambda x: mixer(x).sum()))
    for size in (0.0, 1e3, 1e6):
        assert np.isfinite(gradient(size * inputs())).all(), size


def test_random_features_are_no_parameters_and_are_drawn_for_each_layer():
    rngs = nnx.Rngs(0)
    layers = [small(kernel="softmax", random_features=6, rngs=rngs) for _ in range(2)]
    _, parameters, rest = nnx.split(layers[0], nnx.Param, ...)
    assert set(nnx.to_pure_dict(parameters)) == {"query", "keys", "values", "out"}
    # With the batch statistics they go from one step of training to the next.
    first, second = (nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))["projection"] for layer in layers)
    np.testing.assert_array_equal(nnx.to_pure_dict(rest)["projection"], first)
    assert np.abs(first - second).max() > FLOAT32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads must divide the width 16; got 3"),
        ({"kernel": "gelu"}, "unknown kernel 'gelu'.*allowed: relu, softmax"),
        ({"random_features": -1}, "random_features must be at least 0 for the kernel relu; got -1"),
        ({"kernel": "softmax"}, "random_features must be at least 1 for the kernel softmax; got 0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
