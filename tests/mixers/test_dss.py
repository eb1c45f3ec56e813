"""DSS: the authors' kernels through the layer, in both versions, and the recurrence that goes with them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.mixers.dss import DSS

from . import ssm_checks as checks

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden kernels are float32 themselves.
PARITY = 1e-5


def small(**options):
    return DSS(checks.WIDTH, **{"state_size": 4, "kernel_length": 32, "rngs": nnx.Rngs(0)} | options)


def impulse_response(mixer, length):
    impulse = jnp.zeros((1, length, len(mixer.D[...]))).at[0, 0].set(1.0)
    return jax.jit(mixer)(impulse)[0] - mixer.D[...] * impulse[0]


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=PARITY, atol=PARITY * abs(expected).max())


def test_kernel_of_state_spaces_s4():
    golden = np.load(GOLDEN / "dss_kernel_lin.npz")
    width, states = golden["Lambda"].shape
    length = golden["K"].shape[-1]
    options = {"copies": 0, "kernel_length": length, "separate_steps": False, "bidirectional": False}
    mixer = DSS(width, state_size=states, **options, rngs=nnx.Rngs(0))
    mixer.decay[...], mixer.frequency[...] = -golden["Lambda"].real, golden["Lambda"].imag
    mixer.C[...] = ops.as_pairs(golden["B"] * golden["C"])
    mixer.log_dt[...] = np.log(golden["dt"])[:, None]
    assert_close(impulse_response(mixer, length), golden["K"][0].T)


def authors_layer(version):
    """A layer with the authors' arrays, and their kernel. They divide by Lambda as it is before its two steps."""
    golden = np.load(GOLDEN / f"dss_kernel_{version}.npz")
    _, width, states, _ = golden["W"].shape
    length = golden["K"].shape[-1]
    mixer = DSS(width, state_size=states, version=version, kernel_length=length, bidirectional=False, rngs=nnx.Rngs(0))
    if version == "softmax":
        decay, frequency = -golden["Lambda"][:, 0], golden["Lambda"][:, 1]
        real = -decay
    else:
        decay, frequency = golden["Lambda_log_neg_re"], golden["Lambda_im"]
        real = -np.exp(decay)
    mixer.decay[...], mixer.frequency[...] = decay[None], frequency[None]
    mixer.log_dt[...] = golden["log_dt"]
    C = (golden["W"] @ [1, 1j]) * mixer._system()[0] / (real + 1j * frequency)
    mixer.C[...] = ops.as_pairs(C)
    return mixer, golden["K"][0].T


@pytest.mark.parametrize("version", ["softmax", "exp"])
def test_kernels_of_the_authors(version):
    mixer, kernel = authors_layer(version)
    assert_close(impulse_response(mixer, len(kernel)), kernel)
    # A shorter sequence meets the beginning of the same kernel.
    assert_close(impulse_response(mixer, 20), kernel[:20])
    if version == "softmax":
        assert (mixer.decay[...] < 0).any()


def test_recurrence_with_growing_modes():
    """Over as many steps as the softmax counts."""
    mixer, kernel = authors_layer("softmax")
    impulse = jnp.zeros((1, *kernel.shape)).at[0, 0].set(1.0)
    y, _ = jax.jit(mixer.extend)(impulse, mixer.initial_state(1))
    assert_close((y - mixer.D[...] * impulse)[0], kernel)


def test_softmax_sums_to_one():
    """Without C and the division by Lambda, each mode's kernel sums to 1 over the horizon, growing or not."""
    Lambda, dt, horizon = jnp.array([-0.5 + 3j, 0.2 + 1j, 1.5 + 0.1j, -0.3 + 0j]), 0.1, 50
    log_a, gain = ops.softmax_recurrence(Lambda, dt, horizon)
    powers = jnp.exp(jnp.arange(horizon)[:, None] * log_a)
    np.testing.assert_allclose((powers * gain * Lambda).sum(0), 1, rtol=1e-4)


@pytest.mark.parametrize("version", ["softmax", "exp"])
def test_steps_agree_in_single_precision(version):
    checks.check_steps_agree(small(bidirectional=False, version=version), checks.FLOAT32)


@pytest.mark.parametrize("init", ["legs", "lin"])
@pytest.mark.parametrize("version", ["softmax", "exp"])
def test_initial_spectra(init, version):
    mixer = small(init=init, version=version)
    decay = np.exp(mixer.decay[...]) if version == "exp" else mixer.decay[...]
    np.testing.assert_allclose(decay, np.full((1, 4), 0.5), rtol=1e-6)
    expected = {"lin": ops.s4d_lin(8), "legs": ops.hippo_legs_diagonal(8)[0][4:]}[init]
    np.testing.assert_allclose(mixer.frequency[0], np.imag(expected), rtol=1e-6)
    assert (mixer.frequency[...] >= 0).all()
    np.testing.assert_array_equal(mixer.log_dt[:, 0], mixer.log_dt[:, 1])


def test_roles():
    assert checks.roles(small()) == {
        "decay": "spectrum",
        "frequency": "spectrum",
        "C": "output_matrix",
        "D": "feedthrough",
        "log_dt": "step_size",
    }


def test_the_version_without_a_softmax_sees_no_padding_and_has_all_gradients():
    mixer = small(version="exp")
    assert mixer.state_size == small().state_size == 2 * 2 * checks.WIDTH * 4
    checks.check_padding(mixer)
    checks.check_gradients(mixer)


def test_sequences_longer_than_the_softmax():
    with pytest.raises(UserError, match=r"kernel_length.*at least the length of the sequences, 21; got 20"):
        small(kernel_length=20)(checks.random_inputs())
    assert small(kernel_length=20, version="exp")(checks.random_inputs()).shape[1] == 21


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"kernel_length": 0}, "kernel_length must be at least 1; got 0"),
        ({"version": "softmaxx"}, "'softmaxx'.*did you mean softmax"),
        ({"init": "inv"}, "'inv'.*lin"),
        ({"copies": 4}, "divide the width 6, or be 0; got 4"),
        ({"dt_max": 1e-5}, "dt_max"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
