"""H3: its equations as a loop, its two forms, and what holds for every mixer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.h3 import H3
from ssm_bench.mixers.s4d import S4D
from ssm_bench.network.layers import make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.h3 import H3 as H3Scaffold
from ssm_bench.scaffolds.mlp import MLP

from . import ssm_checks as checks

# Products of three sums of a few hundred terms, by FFT.
FLOAT64 = 1e-9


def small(**options):
    return H3(checks.WIDTH, **{"state_size": 8, "shift_size": 4, "rngs": nnx.Rngs(0)} | options)


def oracle(mixer, x):
    """The outputs of a causal, bilinear layer for one sequence x (l, h): plain loops in double precision."""

    def linear(layer, u):
        return u @ np.asarray(layer.kernel, np.float64) + np.asarray(layer.bias, np.float64)

    q, k, v = (linear(layer, x) for layer in (mixer.query, mixer.keys, mixer.values))
    ssm, weights = mixer.mixer, np.asarray(mixer.shift.kernel, np.float64)
    A = -np.exp(np.asarray(ssm.log_decay)) + 1j * np.asarray(ssm.frequency)
    B, C = (np.asarray(p)[..., 0] + 1j * np.asarray(p)[..., 1] for p in (ssm.B, ssm.C[...][0]))
    z = A * np.exp(np.asarray(ssm.log_dt))[:, None]
    A_bar, B_bar = (1 + z / 2) / (1 - z / 2), z / A / (1 - z / 2) * B
    # The shift's state: the last inputs, the newest last.
    last, state = np.zeros((len(weights), x.shape[1])), np.zeros(A.shape, complex)
    y = np.zeros_like(x)
    for t in range(len(x)):
        last = np.concatenate([last[1:], k[t : t + 1]])
        shifted = (weights * last).sum(0) + np.asarray(mixer.shift.D) * k[t]
        written = shifted * v[t]
        state = A_bar * state + B_bar * written[:, None]
        y[t] = q[t] * (2 * np.real(C * state).sum(1) + np.asarray(ssm.D) * written)
    return linear(mixer.out, y)


@pytest.mark.parametrize("length", [1, 9])
def test_equations(x64, length):
    mixer = small(bidirectional=False)
    x = np.random.default_rng(0).normal(size=(2, length, checks.WIDTH))
    expected = np.stack([oracle(mixer, row) for row in x])
    scale = abs(expected).max()
    np.testing.assert_allclose(jax.jit(mixer)(jnp.asarray(x)), expected, rtol=FLOAT64, atol=FLOAT64 * scale)
    step, state, outputs = jax.jit(mixer.step), mixer.initial_state(2), []
    for t in range(length):
        y_t, state = step(jnp.asarray(x[:, t]), state)
        outputs.append(y_t)
    np.testing.assert_allclose(np.stack(outputs, 1), expected, rtol=FLOAT64, atol=FLOAT64 * scale)


def block(scaffold, mixer):
    slots = Slots(
        d_model=checks.WIDTH,
        mixer=mixer,
        norm=lambda width: make_norm("layer", width),
        prenorm=True,
        dropout=0.0,
        tie_dropout=True,
        layers=1,
    )
    return scaffold(slots, rngs=nnx.Rngs(3), **({"shift_size": 4} if scaffold is H3Scaffold else {}))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_mixer_in_an_mlp_block_is_the_scaffold_around_s4d(bidirectional):
    """One model under two names: the same parameters, the same numbers."""
    options = {"state_size": 8, "bidirectional": bidirectional}
    as_mixer = block(MLP, lambda width, rngs: H3(width, shift_size=4, rngs=rngs, **options))
    ssm = {"init": "lin", "discretization": "bilinear"} | options
    as_scaffold = block(H3Scaffold, lambda width, rngs: S4D(width, rngs=rngs, **ssm))
    parameters = nnx.to_pure_dict(nnx.state(as_mixer, nnx.Param))
    jax.tree.map(np.testing.assert_array_equal, parameters, nnx.to_pure_dict(nnx.state(as_scaffold, nnx.Param)))
    x, mask = checks.random_inputs(), jnp.arange(checks.LENGTH) < jnp.array([[checks.LENGTH], [9]])
    np.testing.assert_array_equal(jax.jit(as_mixer)(x, mask), jax.jit(as_scaffold)(x, mask))
    assert as_mixer.state_size == as_scaffold.state_size


def test_start():
    mixer = H3(64, rngs=nnx.Rngs(0))
    # 4096 draws: as a short convolution over 64 inputs starts, uniform in +-1/8.
    assert jnp.abs(mixer.shift.kernel[...]).max() <= 1 / 8
    assert jnp.std(mixer.shift.kernel[...]) == pytest.approx(1 / 8 / 3**0.5, rel=0.05)
    assert mixer.mixer.discretization == "bilinear"
    np.testing.assert_allclose(mixer.mixer.frequency[...][0], np.pi * np.arange(32), rtol=1e-6)


def test_a_centred_shift_looks_ahead_by_half():
    shift = small(bidirectional=True).shift
    response = jax.jit(shift)(jnp.zeros((1, 12, checks.WIDTH)).at[:, 6].set(1.0))[0]
    felt = np.flatnonzero(np.abs(response).max(1) > checks.FLOAT32)
    assert (felt.min(), felt.max()) == (4, 7)


def test_state_size():
    # Per channel 8 numbers of the SSM and the 3 inputs before the present one; both directions count.
    assert small(bidirectional=False).state_size == checks.WIDTH * (8 + 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift_size": 0}, "shift_size must lie in 1..256; got 0"),
        ({"state_size": 7}, "must be even.*got 7"),
        ({"init": "leg"}, "'leg'.*did you mean legs"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
