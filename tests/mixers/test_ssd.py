"""SSD: its recurrence as a loop, its starting point, and what holds for every mixer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.ssd import SSD
from ssm_bench.network.build import roles

from . import ssm_checks as checks

# Sums of a few dozen float64 products.
FLOAT64 = 1e-10


def small(**options):
    return SSD(checks.WIDTH, **{"state_size": 4, "heads": 2, "rngs": nnx.Rngs(0)} | options)


def plain_loop(cell, x):
    """The equations of the paper, head by head and step by step, in float64."""
    value = lambda variable: np.asarray(variable[...], np.float64)  # noqa: E731
    A, D, p = -np.exp(value(cell.log_decay)), value(cell.D), x.shape[2] // cell.heads
    y = np.zeros(x.shape)
    for row in range(x.shape[0]):
        for head in range(cell.heads):
            mine = slice(head * p, (head + 1) * p)
            h = np.zeros((p, cell.head_shape[1]))
            for t in range(x.shape[1]):
                B, C = np.split(x[row, t] @ value(cell.projection.kernel), 2)
                delta = np.log1p(np.exp(x[row, t] @ value(cell.dt_kernel)[:, head] + value(cell.dt_bias)[head]))
                h = np.exp(delta * A[head]) * h + delta * np.outer(x[row, t, mine], B)
                y[row, t, mine] = h @ C + D[head] * x[row, t, mine]
    return y


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_mixer_is_the_loop(x64, bidirectional):
    mixer = small(bidirectional=bidirectional)
    nnx.update(mixer, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(mixer, nnx.Param)))
    x = np.random.default_rng(0).normal(size=(checks.BATCH, checks.LENGTH, checks.WIDTH))
    expected = plain_loop(mixer.forward, x)
    if mixer.backward is not None:
        expected = expected + plain_loop(mixer.backward, x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(jax.jit(mixer)(x), expected, rtol=FLOAT64, atol=FLOAT64)


def test_starts_as_published():
    cell = SSD(256, heads=64, dt_min=0.01, dt_max=0.1, rngs=nnx.Rngs(0)).forward
    rates = jnp.exp(cell.log_decay[...])
    # Uniform in [1, 16]: of 64 draws the mean is within 3 of 8.5, over five standard errors.
    assert rates.min() >= 1 and rates.max() <= 16 and abs(rates.mean() - 8.5) < 3
    # Through float32 softplus and its inverse.
    steps = jax.nn.softplus(cell.dt_bias[...])
    assert steps.min() > 0.01 * (1 - 1e-4) and steps.max() < 0.1 * (1 + 1e-4)
    np.testing.assert_array_equal(cell.D[...], 1)


def test_the_state_is_as_large_as_said():
    assert small().initial_state(1).size == small().state_size == 4 * checks.WIDTH
    assert small(bidirectional=True).state_size == 2 * 4 * checks.WIDTH


def test_roles():
    assert roles(small().forward) == {
        "log_decay": "spectrum",
        "projection": {"kernel": "weight"},
        "dt_kernel": "step_size",
        "dt_bias": "step_size",
        "D": "feedthrough",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"heads": 4}, "heads must divide the width 6; got 4"),
        ({"heads": 0}, "heads must divide the width 6; got 0"),
        ({"dt_min": 0.0}, "0 < dt_min"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
