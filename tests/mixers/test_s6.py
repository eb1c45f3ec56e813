"""S6: its recurrence as a loop, its starting point, and what holds for every mixer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.s6 import S6
from ssm_bench.network.build import roles

from . import ssm_checks as checks

# Sums of a few dozen float64 products.
FLOAT64 = 1e-10


def small(**options):
    return S6(checks.WIDTH, **{"state_size": 4, "rngs": nnx.Rngs(0)} | options)


def plain_loop(cell, x):
    """The equations of the paper, step by step in float64; complex numbers written out."""
    value = lambda variable: np.asarray(variable[...], np.float64)  # noqa: E731
    A, rank = -np.exp(value(cell.log_decay)) + 0j, cell.dt_kernel.shape[0]
    paired = cell.frequency is not None
    if paired:
        A = A + 1j * value(cell.frequency)
    h, y = np.zeros((x.shape[0], *A.shape), complex), np.zeros(x.shape)
    for t in range(x.shape[1]):
        projected = x[:, t] @ value(cell.projection.kernel)
        factor, B, C = np.split(projected, [rank, rank + (projected.shape[1] - rank) // 2], axis=1)
        if paired:
            B, C = B[:, ::2] + 1j * B[:, 1::2], C[:, ::2] + 1j * C[:, 1::2]
        delta = np.log1p(np.exp(factor @ value(cell.dt_kernel) + value(cell.dt_bias)))[..., None]
        h = np.exp(delta * A) * h + delta * B[:, None] * x[:, t, :, None]
        y[:, t] = (2 if paired else 1) * (C[:, None] * h).sum(-1).real
        y[:, t] += value(cell.D) * x[:, t]
    return y


@pytest.mark.parametrize(
    "options",
    [{}, {"complex_states": True, "bidirectional": True}, {"dt_rank": 3}],
    ids=["real", "complex, both ways", "rank 3"],
)
def test_the_mixer_is_the_loop(x64, options):
    mixer = small(**options)
    nnx.update(mixer, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), nnx.state(mixer, nnx.Param)))
    x = np.random.default_rng(0).normal(size=(checks.BATCH, checks.LENGTH, checks.WIDTH))
    expected = plain_loop(mixer.forward, x)
    if mixer.backward is not None:
        expected = expected + plain_loop(mixer.backward, x[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(jax.jit(mixer)(x), expected, rtol=FLOAT64, atol=FLOAT64)


def test_starts_as_published():
    cell = S6(128, state_size=16, dt_min=0.01, dt_max=0.1, rngs=nnx.Rngs(0)).forward
    np.testing.assert_allclose(-jnp.exp(cell.log_decay[...]), -np.tile(np.arange(1, 17), (128, 1)), rtol=1e-6)
    # Through float32 softplus and its inverse.
    steps = jax.nn.softplus(cell.dt_bias[...])
    assert steps.min() > 0.01 * (1 - 1e-4) and steps.max() < 0.1 * (1 + 1e-4)
    assert cell.dt_kernel.shape == (8, 128)
    assert jnp.abs(cell.dt_kernel[...]).max() <= 8**-0.5
    np.testing.assert_array_equal(cell.D[...], 1)
    paired = S6(4, state_size=6, complex_states=True, rngs=nnx.Rngs(0)).forward
    np.testing.assert_allclose(paired.log_decay[...], np.log(0.5), rtol=1e-6)
    np.testing.assert_allclose(paired.frequency[...], np.tile(np.pi * np.arange(3), (4, 1)), rtol=1e-6)


@pytest.mark.parametrize("complex_states", [False, True])
def test_the_state_is_as_large_as_said(complex_states):
    mixer = small(complex_states=complex_states)
    assert mixer.state_size == 4 * checks.WIDTH
    (state,) = jax.tree.leaves(mixer.initial_state(1))
    assert state.size * (2 if complex_states else 1) == mixer.state_size
    assert small(bidirectional=True).state_size == 2 * mixer.state_size


def test_roles():
    assert roles(small(complex_states=True).forward) == {
        "log_decay": "spectrum",
        "frequency": "spectrum",
        "projection": {"kernel": "weight"},
        "dt_kernel": "step_size",
        "dt_bias": "step_size",
        "D": "feedthrough",
    }


def test_padding_of_complex_states():
    checks.check_padding(small(bidirectional=True, complex_states=True))


def test_gradients_of_complex_states():
    checks.check_gradients(small(complex_states=True, bidirectional=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"state_size": 5, "complex_states": True}, "state_size must be even.*got 5"),
        ({"dt_rank": -1}, "dt_rank must be at least 1, or 0.*got -1"),
        ({"dt_min": 0.2}, "dt_min <= dt_max"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
