"""Mega: the mixer as a loop in float64, what its average truncates, chunks as a state, and impossible options."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import testing
from ssm_bench.errors import UserError
from ssm_bench.mixers.mega import Mega
from ssm_bench.network.layers import make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.mlp import MLP

LENGTH, WIDTH, STATES, VALUES, KEYS = 9, 4, 3, 5, 2
FLOAT64 = 1e-10


def small(**options):
    sizes = {"state_size": STATES, "width": VALUES, "key_width": KEYS, "max_length": 12}
    mixer = Mega(WIDTH, **sizes | options, rngs=nnx.Rngs(0))
    # Initial weights of 0.02 would leave the attention almost unseen.
    for linear in (mixer.values, mixer.inner, mixer.out):
        linear.kernel[...] = 30 * linear.kernel[...]
    mixer.scale[...], mixer.offset[...] = 50 * mixer.scale[...], mixer.offset[...] + 0.3
    return mixer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def average(ema, x, truncation):
    """Position by position: sum over earlier ones, and over later ones with the second system."""
    alpha, delta, beta, gamma = (
        np.asarray(p[...], float).reshape(-1, WIDTH, STATES) for p in (ema.alpha, ema.delta, ema.beta, ema.gamma)
    )
    y = x * np.asarray(ema.omega[...])
    decay = 1 - sigmoid(alpha) * sigmoid(delta)
    for i, j in np.ndindex(len(x), len(x)):
        for direction in range(len(alpha)):
            lag = (i - j, j - i)[direction]
            if 0 <= lag < (truncation or len(x)):
                powers = decay[direction] ** lag * sigmoid(alpha[direction]) * beta[direction] * gamma[direction]
                y[i] += powers.sum(-1) / math.sqrt(STATES) * x[j]
    return y


def loop(mixer, x, *, chunk=0, truncation=0):
    def through(linear, x):
        return x @ np.asarray(linear.kernel[...], float) + np.asarray(linear.bias[...], float)

    m = silu(average(mixer.average, x, truncation))
    u, z, r, direct = np.split(through(mixer.inner, m), [WIDTH, WIDTH + KEYS, WIDTH + KEYS + VALUES], axis=-1)
    (q, k), v = (silu(z) * mixer.scale[...][i] + mixer.offset[...][i] for i in (0, 1)), silu(through(mixer.values, x))
    y = np.zeros_like(v)
    for i in range(len(x)):
        seen = [j for j in range(len(x)) if (not chunk or i // chunk == j // chunk) and (j <= i or not mixer.causal)]
        middle = (mixer.distances.shape[0] - 1) // 2
        weights = np.exp([q[i] @ k[j] / math.sqrt(KEYS) + mixer.distances[...][middle + j - i] for j in seen])
        y[i] = weights / weights.sum() @ v[seen]
    h = silu(direct + through(mixer.out, y * silu(r)))
    return sigmoid(u) * (h - x)


@pytest.mark.parametrize(
    "options", [pytest.param({"truncation": 4}, marks=pytest.mark.thorough), {"bidirectional": False, "chunk": 4}]
)
def test_it_is_the_loop(options):
    with jax.enable_x64(True):
        mixer = small(**options)
        nnx.update(mixer, jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), nnx.state(mixer, nnx.Param)))
        x = np.random.default_rng(0).normal(size=(2, LENGTH, WIDTH))
        y = jax.jit(mixer)(x)
        chosen = {name: options.get(name, 0) for name in ("chunk", "truncation")}
        for row in range(2):
            np.testing.assert_allclose(y[row], loop(mixer, x[row], **chosen), rtol=FLOAT64, atol=FLOAT64)


def test_steps_and_chunks_have_a_state_of_constant_size_if_attention_stays_in_chunks():
    # Chunks of the stream begin inside of those that attend to each other.
    testing.check_steps(lambda: small(bidirectional=False, chunk=3, attention="laplace", bias="rotary"), WIDTH)
    assert small(bidirectional=False, chunk=3).state_size == WIDTH * STATES + 3 * (KEYS + VALUES)
    assert small(bidirectional=False).state_size is None


def test_a_block_updates_its_own_stream_and_other_blocks_get_that_of_their_input():
    """The MLP scaffold with the norm first: x + u (h - x), and not x + u (h - norm(x))."""
    slots = Slots(
        d_model=WIDTH,
        mixer=lambda width, rngs: small(),
        norm=lambda width: make_norm("layer", width),
        prenorm=True,
        dropout=0.5,
        tie_dropout=False,
        layers=1,
    )
    block = MLP(slots, width=6, nonlinearity="silu", hidden_dropout=False, rngs=nnx.Rngs(0))
    block.contract.kernel[...] = jnp.zeros((6, WIDTH))
    x = 3 + jax.random.normal(jax.random.key(0), (1, LENGTH, WIDTH))
    normed = block.mixer_residual.norm(x)
    # Dropout is the mixer's own, of which this one has none.
    y = jax.jit(lambda x: block(x, None, key=jax.random.key(1)))(x)
    mix = jax.jit(lambda x, residual: block.mixer(x, residual=residual))
    np.testing.assert_allclose(y, x + mix(normed, x), rtol=1e-5, atol=1e-5)
    assert np.abs(y - x - mix(normed, normed)).max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "relu"}, "attention 'relu'.*relu2"),
        ({"bias": "none"}, "bias 'none'"),
        ({"key_width": 3, "bias": "rotary"}, "key_width must be at least 1, and even with rotary biases; got 3"),
        ({"width": -1}, "width must be at least 1"),
        ({"chunk": -1}, "chunk must be at least 0; got -1"),
        ({"truncation": -1}, "truncation must be at least 0; got -1"),
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\); got 1.0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)


def test_a_sequence_may_not_be_longer_than_the_biases():
    with pytest.raises(UserError, match="at most 12 positions; got 13"):
        small()(jnp.zeros((1, 13, WIDTH)))
