"""RG-LRU: the authors' layer, a float64 loop, its initializations, and what holds for every mixer."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.rg_lru import RGLRU
from ssm_bench.network.build import roles as tree_roles

from . import ssm_checks as checks

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden outputs are float32 sums themselves.
PARITY = 1e-5


def small(**options):
    return RGLRU(checks.WIDTH, **{"blocks": 2, "rngs": nnx.Rngs(0)} | options)


@pytest.mark.parametrize("heads", [1, 4])
def test_authors_layer(heads):
    golden = np.load(GOLDEN / f"rg_lru_heads{heads}.npz")
    mixer = RGLRU(golden["x"].shape[-1], blocks=heads, rngs=nnx.Rngs(0))
    cell = mixer.forward
    cell.a_param[...] = golden["a_param"]
    for name, gate in (("input_gate", cell.input_gate), ("a_gate", cell.a_gate)):
        gate.kernel[...], gate.bias[...] = golden[f"{name}/w"], golden[f"{name}/b"].reshape(-1)
    y, state = jax.jit(mixer.extend)(golden["x"], mixer.initial_state(len(golden["x"])))
    np.testing.assert_allclose(y, golden["y"], rtol=PARITY, atol=PARITY * abs(golden["y"]).max())
    np.testing.assert_allclose(state["h"], golden["last_state"], rtol=PARITY, atol=PARITY * abs(golden["y"]).max())


def loop(cell, x):
    """The recurrence as a plain loop over x (l, h)."""
    sigmoid = lambda t: 1 / (1 + np.exp(-t))  # noqa: E731
    rate = np.log1p(np.exp(np.asarray(cell.a_param[...])))

    def gate(part, x_t):
        blocks = np.asarray(part.kernel[...])
        size = blocks.shape[1]
        parts = [x_t[n * size : (n + 1) * size] @ block for n, block in enumerate(blocks)]
        return sigmoid(np.concatenate(parts) + np.asarray(part.bias[...]))

    h, states = None, []
    for x_t in x:
        a = np.exp(-8 * rate * gate(cell.a_gate, x_t))
        gated = gate(cell.input_gate, x_t) * x_t
        h = gated if h is None else a * h + np.sqrt(1 - a**2) * gated
        states.append(h)
    return np.array(states)


def test_both_directions_are_loops_over_true_positions(x64):
    mixer = small(bidirectional=True)
    nnx.update(mixer, jax.tree.map(lambda a: a.astype(float), nnx.state(mixer)))
    x = np.random.default_rng(0).normal(size=(2, 12, checks.WIDTH))
    lengths = (12, 7)
    y = jax.jit(mixer)(x, jnp.arange(12) < np.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        true = x[row, :length]
        expected = loop(mixer.forward, true) + loop(mixer.backward, true[::-1])[::-1]
        np.testing.assert_allclose(y[row, :length], expected, rtol=checks.FLOAT64, atol=checks.FLOAT64)


@pytest.mark.parametrize(
    ("init", "quantiles"),
    # Of s, the decay of an open gate, at a quarter, a half and three quarters.
    [
        ("griffin", [0.92475, 0.9495, 0.97425]),
        ("recurrentgemma", [(0.81 + q * (0.999**2 - 0.81)) ** 4 for q in (0.25, 0.5, 0.75)]),
        ("log_uniform", [np.exp(np.log(0.999) * (np.log(0.9) / np.log(0.999)) ** q) for q in (0.75, 0.5, 0.25)]),
    ],
)
def test_initializations(init, quantiles):
    a_param = np.asarray(RGLRU(4096, blocks=512, init=init, rngs=nnx.Rngs(0)).forward.a_param[...], float)
    decay = np.exp(-8 * np.log1p(np.exp(a_param)))
    # Ranks of 4096 draws: 0.03 is four standard errors.
    ranks = [(decay < quantile).mean() for quantile in quantiles]
    np.testing.assert_allclose(ranks, [0.25, 0.5, 0.75], atol=0.03)


def test_gates_start_lecun_normal_in_each_block():
    gate = RGLRU(256, blocks=4, rngs=nnx.Rngs(0)).forward.a_gate
    assert gate.kernel.shape == (4, 64, 64) and not gate.bias[...].any()
    # 4096 draws a block: a tenth is nine standard errors of a standard deviation.
    np.testing.assert_allclose(gate.kernel[...].std((1, 2)), 1 / 8, rtol=0.1)


def test_roles():
    roles = {
        "a_param": "spectrum",
        "input_gate": {"kernel": "weight", "bias": "exempt"},
        "a_gate": {"kernel": "weight", "bias": "exempt"},
    }
    assert tree_roles(small(bidirectional=True)) == {"forward": roles, "backward": roles}


def test_steps_agree():
    """The first step differs from a step after zeros."""
    mixer = small()
    x = checks.random_inputs()
    state, step = mixer.initial_state(checks.BATCH), jax.jit(mixer.step)
    outputs = []
    for t in range(4):
        y_t, state = step(x[:, t], state)
        outputs.append(y_t)
    np.testing.assert_allclose(np.stack(outputs, 1), jax.jit(mixer)(x)[:, :4], rtol=checks.FLOAT32, atol=checks.FLOAT32)
    after_zeros, _ = step(x[:, 0], {"h": jnp.zeros((checks.BATCH, checks.WIDTH)), "fresh": jnp.array([True, False])})
    np.testing.assert_array_equal(after_zeros[0], outputs[0][0])
    assert jnp.abs(after_zeros[1] - outputs[0][1]).max() > 0.01
    assert mixer.state_size == checks.WIDTH and small(bidirectional=True).state_size == 2 * checks.WIDTH


def test_bidirectional():
    mixer = small(bidirectional=True)
    assert not mixer.causal
    with pytest.raises(TypeError, match="not causal"):
        mixer.initial_state(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 4}, "blocks must divide the width 6; got 4"),
        ({"blocks": 0}, "got 0"),
        ({"init": "griffon"}, "'griffon'.*did you mean griffin"),
        ({"r_min": 0.999, "r_max": 0.9}, "in order between 0 and 1; got r_min 0.999 and r_max 0.9"),
        ({"r_max": 1.0}, "r_max 1.0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
