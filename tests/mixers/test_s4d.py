"""S4D: the authors' kernels through the layer, its initializations, and what holds for every mixer."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.mixers.s4d import S4D

from . import ssm_checks as checks

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden kernels are float32 themselves.
PARITY = 1e-5


def small(**options):
    return S4D(checks.WIDTH, **{"state_size": 8, "rngs": nnx.Rngs(0)} | options)


@pytest.mark.parametrize(
    ("name", "discretization"),
    [("s4d_kernel_zoh_lin", "zoh"), ("s4d_kernel_zoh_legs", "zoh"), ("s4d_kernel_bilinear_inv", "bilinear")],
)
def test_authors_impulse_response(name, discretization):
    """The answer to an impulse is the authors' kernel, and D at the impulse itself."""
    golden = np.load(GOLDEN / f"{name}.npz")
    width, modes = golden["Lambda"].shape
    mixer = S4D(width, state_size=2 * modes, discretization=discretization, bidirectional=False, rngs=nnx.Rngs(0))
    mixer.log_decay[...], mixer.frequency[...] = np.log(-golden["Lambda"].real), golden["Lambda"].imag
    mixer.B[...], mixer.C[...] = ops.as_pairs(golden["B"]), ops.as_pairs(golden["C"])
    mixer.log_dt[...] = np.log(golden["dt"])
    kernel = golden["K"][0]
    impulse = jnp.zeros((1, kernel.shape[1], width)).at[0, 0].set(1.0)
    expected = kernel.T + mixer.D[...] * impulse[0]
    np.testing.assert_allclose(jax.jit(mixer)(impulse)[0], expected, rtol=PARITY, atol=PARITY * abs(kernel).max())


@pytest.mark.parametrize("init", ["lin", "inv", "legs", "real"])
def test_initial_spectra(init):
    mixer = S4D(4, state_size=16, init=init, rngs=nnx.Rngs(0))
    expected = {
        "lin": ops.s4d_lin(16),
        "inv": ops.s4d_inv(16),
        "legs": ops.hippo_legs_diagonal(16)[0][:8],
        "real": -np.arange(1, 9),
    }[init]
    A = -np.exp(mixer.log_decay[...]) + 1j * mixer.frequency[...]
    np.testing.assert_allclose(A, np.tile(expected, (4, 1)), rtol=1e-6)
    B = ops.as_complex(mixer.B[...])
    if init == "legs":
        golden = np.load(GOLDEN / "s4d_kernel_zoh_legs.npz")
        # The sign of an eigenvector is free, and falls away: C is symmetric.
        np.testing.assert_allclose(jnp.abs(B[0]), abs(golden["B"][0]), rtol=1e-5)
    else:
        assert (B == 1).all()
    assert jnp.std(mixer.C[...]) == pytest.approx(0.5**0.5, rel=0.3)


def test_copies_are_dealt_to_channels_in_turn():
    mixer = small(copies=2)
    assert mixer.log_decay.shape == (2, 4) and mixer.B.shape == (2, 4, 2)
    mixer.B[...] = jnp.stack([jnp.ones((4, 2)), jnp.zeros((4, 2))])
    mixer.D[...] = jnp.zeros(checks.WIDTH)
    response = jnp.abs(jax.jit(mixer)(checks.random_inputs())).sum((0, 1))
    assert (response[::2] > 0).all() and (response[1::2] == 0).all()


def test_present_step_is_counted_once():
    """With equal forward and backward C the answer to an impulse is symmetric, but for one step."""
    mixer = small()
    mixer.C[...] = jnp.stack([mixer.C[...][0]] * 2)
    mixer.D[...] = jnp.zeros(checks.WIDTH)
    middle = checks.LENGTH // 2
    response = jax.jit(mixer)(jnp.zeros((1, checks.LENGTH, checks.WIDTH)).at[:, middle].set(1.0))[0]
    after, before = response[middle:-1], jnp.flip(response[:middle], axis=0)
    np.testing.assert_allclose(before, after, rtol=PARITY, atol=PARITY * jnp.abs(response).max())


def test_roles():
    assert checks.roles(small()) == {
        "log_decay": "spectrum",
        "frequency": "spectrum",
        "B": "input_matrix",
        "C": "output_matrix",
        "D": "feedthrough",
        "log_dt": "step_size",
    }


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_steps_agree_in_single_precision(discretization):
    checks.check_steps_agree(small(bidirectional=False, discretization=discretization, copies=3), checks.FLOAT32)


def test_state_size():
    assert small().state_size == 2 * checks.WIDTH * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 7}, "must be even.*got 7"),
        ({"init": "leg"}, "'leg'.*did you mean legs"),
        ({"copies": 4}, "divide the width 6, or be 0; got 4"),
        ({"copies": -1}, "got -1"),
        ({"discretization": "dss"}, "'dss'.*bilinear, zoh"),
        ({"dt_max": 1e-5}, "dt_max"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
