"""The linear RNN: its equations as a loop, its disk, and what holds for every mixer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.linear_rnn import LinearRNN

from . import ssm_checks as checks

FLOAT64 = 1e-11


def small(**options):
    return LinearRNN(checks.WIDTH, **{"state_size": 8, "rngs": nnx.Rngs(0)} | options)


def oracle(mixer, x):
    """The outputs for one sequence x (l, h), plain loops in double precision."""
    A, B, C, D = (np.asarray(p, np.float64) for p in (mixer.A, mixer.B, mixer.C, mixer.D))
    y = D * x
    for direction, C_direction in enumerate(C):
        state = np.zeros(len(A))
        steps = range(len(x))
        for t in reversed(steps) if direction else steps:
            state = A @ state + B @ x[t]
            y[t] += C_direction @ state
    return y


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("length", [1, 2, 17])
def test_equations(x64, bidirectional, length):
    mixer = small(bidirectional=bidirectional)
    x = np.random.default_rng(0).normal(size=(2, length, checks.WIDTH))
    expected = [oracle(mixer, row) for row in x]
    np.testing.assert_allclose(jax.jit(mixer)(jnp.asarray(x)), expected, rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize("radius", [1.0, 0.5])
def test_eigenvalues_start_on_their_disk(radius):
    A = np.asarray(small(state_size=256, radius=radius).A)
    moduli = np.abs(np.linalg.eigvals(A)) / radius
    # The circular law holds as n grows; with 256 the outermost strays by a few percent.
    assert 0.9 < moduli.max() < 1.2
    # Uniform on the unit disk: half of the eigenvalues lie within sqrt(1/2).
    assert np.median(moduli) == pytest.approx(0.5**0.5, rel=0.1)


def test_roles():
    assert checks.roles(small()) == {
        "A": "spectrum",
        "B": "input_matrix",
        "C": "output_matrix",
        "D": "feedthrough",
    }


def test_state_size():
    assert small(bidirectional=True).state_size == 2 * small().state_size == 2 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"radius": 0.0}, "radius must be a number above 0; got 0.0"),
        ({"radius": float("inf")}, "radius must be a number above 0; got inf"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
