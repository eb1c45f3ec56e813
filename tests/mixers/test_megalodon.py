"""Megalodon: the mixer in both directions as a loop in float64, its states, and impossible options."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import testing
from ssm_bench.errors import UserError
from ssm_bench.mixers.megalodon import EPSILON, Megalodon
from ssm_bench.network.layers import make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.megalodon import Megalodon as Block

LENGTH, WIDTH, STATES, VALUES, KEYS, HEADS = 7, 4, 3, 6, 8, 2
FLOAT64 = 1e-10


def small(**options):
    sizes = {"state_size": STATES, "width": VALUES, "key_width": KEYS, "heads": HEADS}
    mixer = Megalodon(WIDTH, **sizes | options, rngs=nnx.Rngs(0))
    mixer.offset[...] = mixer.offset[...] + 0.3
    mixer.average.gamma[...] = mixer.average.gamma[...] + 0.5
    return mixer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def normed(x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON)


def average(ema, x):
    """Both recurrences, a position at a time."""
    alpha, delta, angle = (sigmoid(np.asarray(p[...], float)) for p in (ema.alpha, ema.delta, ema.angle))
    a = (1 - alpha * delta) * np.exp(1j * angle * 2 * math.pi / STATES * np.arange(1, STATES + 1))
    gamma = (ema.gamma[...][..., 0] + 1j * ema.gamma[...][..., 1]) / math.sqrt(STATES)
    y = x * np.asarray(ema.omega[...])
    for direction, order in enumerate((range(len(x)), reversed(range(len(x))))):
        own, state = slice(direction * WIDTH, (direction + 1) * WIDTH), np.zeros((WIDTH, STATES), complex)
        for t in order:
            state = a[own] * state + alpha[own] * x[t][:, None]
            y[t] += (gamma[own] * state).sum(-1).real
    return y


def turned(x, position):
    """Pairs of channels half a head apart as complex numbers, turned."""
    half = len(x) // 2
    pairs = (x[:half] + 1j * x[half:]) * np.exp(1j * position * 10_000.0 ** (-np.arange(half) / half))
    return np.concatenate([pairs.real, pairs.imag])


def loop(mixer, x):
    def through(linear, x):
        bias = 0 if linear.bias is None else np.asarray(linear.bias[...], float)
        return x @ np.asarray(linear.kernel[...], float) + bias

    m = normed(average(mixer.average, x)) * np.asarray(mixer.norm.scale[...])
    d, e = KEYS // HEADS, VALUES // HEADS
    z, v, y = through(mixer.shared, m), silu(through(mixer.values, x)), np.zeros((len(x), VALUES))
    scale, offset = np.asarray(mixer.scale[...]), np.asarray(mixer.offset[...])
    for head in range(HEADS):
        channels, own = slice(head * d, (head + 1) * d), slice(head * e, (head + 1) * e)
        q, k = (normed(z[:, channels]) * scale[i, channels] / math.sqrt(d) + offset[i, channels] for i in (0, 1))
        for i in range(len(x)):
            weights = np.exp([turned(q[i], i) @ turned(k[j], j) for j in range(len(x))])
            y[i, own] = weights / weights.sum() @ v[:, own]
    return through(mixer.direct, m) + through(mixer.out, y * silu(through(mixer.reset, m)))


def test_it_is_the_loop_in_both_directions():
    with jax.enable_x64(True):
        mixer = small()
        nnx.update(mixer, jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), nnx.state(mixer, nnx.Param)))
        x = np.random.default_rng(0).normal(size=(1, LENGTH, WIDTH))
        np.testing.assert_allclose(jax.jit(mixer)(x)[0], loop(mixer, x[0]), rtol=FLOAT64, atol=FLOAT64)


def test_steps_and_chunks_have_a_state_of_constant_size_if_attention_stays_in_chunks():
    testing.check_steps(lambda: small(bidirectional=False, chunk=3), WIDTH)
    assert small(bidirectional=False, chunk=3).state_size == 2 * WIDTH * STATES + 3 * (KEYS + VALUES)
    assert small(bidirectional=False).state_size is None


def test_the_second_residual_skips_the_mixer():
    slots = Slots(
        d_model=WIDTH,
        mixer=lambda width, rngs: small(),
        norm=lambda width: make_norm("layer", width),
        prenorm=True,
        dropout=0.0,
        tie_dropout=False,
        layers=1,
    )
    block = Block(slots, width=5, gated=True, groups=2, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, LENGTH, WIDTH))

    @jax.jit
    def expected(x):
        u = block.norm(x + block.mixer(block.time_norm(x)))
        return x + block.contract(jax.nn.silu(block.expand(u)) * block.value(u))

    np.testing.assert_allclose(jax.jit(lambda x: block(x, None))(x), expected(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="groups must divide the width 4; got 3"):
        Block(slots, groups=3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4}, "heads must divide the width 6 of the values; got 4"),
        ({"key_width": 6}, "key_width must be a multiple of 2 heads, 4; got 6"),
        ({"chunk": -1}, "chunk must be at least 0; got -1"),
        ({"dropout": -0.1}, r"dropout must lie in \[0, 1\); got -0.1"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
