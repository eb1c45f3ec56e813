"""B2S6: its recurrence as a loop over channels, its starting point, and S6 as the case of one block without bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.b2s6 import B2S6
from ssm_bench.network.build import roles

from . import ssm_checks as checks

# Sums of a few dozen float64 products.
FLOAT64 = 1e-10


def small(**options):
    return B2S6(checks.WIDTH, **{"state_size": 4, "blocks": 3, "rngs": nnx.Rngs(0)} | options)


def plain_loop(cell, x):
    """Algorithm 2 of the paper, channel by channel and step by step in float64, with D and Mamba's rule for B."""
    value = lambda variable: np.asarray(variable[...], np.float64)  # noqa: E731
    weight, w, D = value(cell.projection), value(cell.dt_kernel), value(cell.D)
    step_bias, bias = value(cell.dt_bias), value(cell.B_bias)
    A, paired = -np.exp(value(cell.log_decay)) + 0j, cell.frequency is not None
    blocks, size = w.shape
    n, y = len(A), np.zeros(x.shape)
    if paired:
        A, bias = A + 1j * value(cell.frequency), bias[..., 0] + 1j * bias[..., 1]
    for b, i in np.ndindex(len(x), blocks * size):
        block, h = i // size, np.zeros(n, complex)
        for t in range(x.shape[1]):
            u = x[b, t, block * size : (block + 1) * size]
            projected = u @ weight[block]
            B, C = projected[:-n], projected[-n:]
            B = B[::2] + 1j * B[1::2] if paired else B
            delta = np.log1p(np.exp(w[block] @ u + step_bias[i]))
            h = np.exp(delta * A) * h + delta * (B + bias[i]) * x[b, t, i]
            y[b, t, i] = (2 if paired else 1) * (C @ h).real + D[i] * x[b, t, i]
    return y


@pytest.mark.parametrize(
    "options",
    [{"complex_states": False}, {"bidirectional": True}, {"blocks": 1}, {"blocks": 6}],
    ids=["real", "complex, both ways", "one block", "blocks of one channel"],
)
def test_the_mixer_is_the_loop(x64, options):
    mixer = small(**options)
    nnx.update(mixer, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(mixer, nnx.Param)))
    x = np.random.default_rng(0).normal(size=(checks.BATCH, checks.LENGTH, checks.WIDTH))
    expected = plain_loop(mixer.forward, x)
    if mixer.backward is not None:
        expected = expected + plain_loop(mixer.backward, x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(jax.jit(mixer)(x), expected, rtol=FLOAT64, atol=FLOAT64)


def test_channels_of_other_blocks_change_nothing():
    mixer, x = small(), checks.random_inputs()
    changed = x.at[..., 4:].add(1.0)
    y, other = jax.jit(mixer)(x), jax.jit(mixer)(changed)
    np.testing.assert_array_equal(y[..., :4], other[..., :4])
    assert (jnp.abs(y - other)[:, :, 4:].max((0, 1)) > 0).all()


def test_starts_as_documented():
    cell = B2S6(64, state_size=8, blocks=4, dt_min=0.01, dt_max=0.1, rngs=nnx.Rngs(0)).forward
    np.testing.assert_allclose(cell.log_decay[...], np.log(0.5) * np.ones(4), rtol=1e-6)
    np.testing.assert_allclose(cell.frequency[...], np.pi * np.arange(4), rtol=1e-6)
    # Through float32 softplus and its inverse.
    steps = jax.nn.softplus(cell.dt_bias[...])
    assert steps.min() > 0.01 * (1 - 1e-4) and steps.max() < 0.1 * (1 + 1e-4)
    assert cell.dt_kernel.shape == (4, 16) and jnp.abs(cell.dt_kernel[...]).max() <= 0.25
    # 64 channels and 4 states: the mean of 256 squares, six standard deviations.
    assert abs((cell.B_bias[...] ** 2).sum(-1).mean() - 1) < 6 / 16
    real = B2S6(4, state_size=6, blocks=1, complex_states=False, rngs=nnx.Rngs(0)).forward
    np.testing.assert_allclose(jnp.exp(real.log_decay[...]), np.arange(1, 7), rtol=1e-6)


def test_the_state_is_as_large_as_said():
    mixer = small()
    assert mixer.state_size == 4 * checks.WIDTH
    (state,) = jax.tree.leaves(mixer.initial_state(1))
    assert state.size * 2 == mixer.state_size


def test_roles():
    assert roles(small().forward) == {
        "log_decay": "spectrum",
        "frequency": "spectrum",
        "projection": "weight",
        "dt_kernel": "step_size",
        "dt_bias": "step_size",
        "B_bias": "input_matrix",
        "D": "feedthrough",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 5}, "state_size must be even.*got 5"),
        ({"state_size": 0, "complex_states": False}, "state_size must be at least 1; got 0"),
        ({"blocks": 4}, "blocks must divide the width 6; got 4"),
        ({"blocks": 0}, "blocks must divide the width 6; got 0"),
        ({"dt_min": 0.2}, "dt_min <= dt_max"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
