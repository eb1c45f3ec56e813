"""S4: the authors' kernels through the layer, its initializations, and kernel, scan and recurrence of one system."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.mixers.s4 import S4

from . import ssm_checks as checks

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden kernels are float32 themselves.
PARITY = 1e-5
# Sums over modes, steps and a batch in float32; a tenth of what the step sizes lose.
GRADIENTS = 1e-3


def small(**options):
    return S4(checks.WIDTH, **{"state_size": 8, "rngs": nnx.Rngs(0)} | options)


def test_gradients_of_legs_keep_their_digits_in_float32(x64):
    """Adam divides a gradient by its size, so that noise would move a parameter as far as any other."""

    def gradients(dtype):
        mixer = S4(checks.WIDTH, state_size=64, rngs=nnx.Rngs(0))
        graph, parameters, rest = nnx.split(mixer, nnx.Param, ...)
        parameters = jax.tree.map(lambda leaf: leaf.astype(jnp.float32).astype(dtype), parameters)
        x, weights = (rng.normal(size=(2, 512, checks.WIDTH)) for rng in map(np.random.default_rng, (0, 1)))

        def loss(parameters):
            return (nnx.merge(graph, parameters, rest)(jnp.asarray(x, dtype)) * jnp.asarray(weights, dtype)).sum()

        return nnx.to_pure_dict(jax.jit(jax.grad(loss))(parameters))

    found, expected = gradients(jnp.float32), gradients(jnp.float64)
    for name, gradient in found.items():
        assert gradient.dtype == jnp.float32
        error = np.linalg.norm(gradient - expected[name]) / np.linalg.norm(expected[name])
        assert error < GRADIENTS, name


@pytest.mark.parametrize("name", ["legs", "legt"])
def test_authors_impulse_responses(name):
    """The answer to an impulse in the middle: the authors' first kernel forward, their second backward, and D."""
    golden = np.load(GOLDEN / f"s4_kernel_{name}.npz")
    width, modes = golden["Lambda"].shape
    mixer = S4(width, state_size=2 * modes, init=name, rngs=nnx.Rngs(0))
    mixer.log_decay[...], mixer.frequency[...] = np.log(-golden["Lambda"].real), golden["Lambda"].imag
    for parameter in "PBC":
        getattr(mixer, parameter)[...] = ops.as_pairs(golden[parameter])
    mixer.log_dt[...] = np.log(golden["dt"])
    forward, backward = (np.asarray(kernel).T for kernel in golden["K"])
    length = len(forward)
    impulse = jnp.zeros((1, 2 * length, width)).at[0, length].set(1.0)
    expected = np.concatenate([backward[::-1], forward]) + mixer.D[...] * impulse[0]
    # Kernels of twice the length begin like these.
    np.testing.assert_allclose(jax.jit(mixer)(impulse)[0], expected, rtol=PARITY, atol=PARITY * abs(golden["K"]).max())


@pytest.mark.parametrize("init", ["legs", "legt", "fout"])
def test_initial_system_is_hippo(init):
    """In its own basis: the same eigenvalues, but for the decay that Lambda gets where it has none."""
    n = 8
    mixer = small(init=init, copies=1, state_size=n)
    Lambda = np.asarray(-np.exp(mixer.log_decay[0]) + 1j * mixer.frequency[0])
    P = np.asarray(ops.as_complex(mixer.P[...])[:, 0])
    Lambda, P = (np.concatenate([x, x.conj()], axis=-1) for x in (Lambda, P))
    A = np.diag(Lambda) - P.T @ P.conj()
    expected, _ = {"legs": ops.hippo_legs, "legt": ops.hippo_legt, "fout": ops.hippo_fout}[init](n)
    coefficients = np.poly(expected)
    decay = 0 if init == "legs" else 1e-4
    shifted = np.poly(expected - decay * np.eye(n))
    np.testing.assert_allclose(np.poly(A).real, shifted, rtol=1e-4, atol=1e-5 * abs(coefficients).max())
    assert (mixer.log_decay[...] >= np.log(1e-4) - 1e-5).all()


@pytest.mark.parametrize("init", ["legs", "legt", "fout"])
def test_convolution_scan_and_recurrence_agree(init):
    options = {"bidirectional": False, "init": init, "copies": 3}
    checks.check_steps_agree(small(**options), checks.FLOAT32)
    with jax.enable_x64(True):
        mixer, x = small(**options), checks.random_inputs()
        np.testing.assert_allclose(
            dense_scan(mixer, x), jax.jit(mixer)(x), rtol=checks.FLOAT64, atol=checks.FLOAT64 * jnp.abs(x).max()
        )


def dense_scan(mixer, x):
    """The same system with dense matrices and all conjugate pairs, in a loop over time."""
    Lambda, P, B, dt = (np.asarray(z, np.complex128) for z in mixer._system())
    C = np.asarray(ops.as_complex(mixer.C[0]))
    Lambda, P, B, C = (np.concatenate([z, z.conj()], axis=-1) for z in (Lambda, P, B, C))
    y = np.array(mixer.D[...] * x)
    for i in range(x.shape[-1]):
        A = dt[i] / 2 * (np.diag(Lambda[i]) - P[:, i].T @ P[:, i].conj())
        inverse = np.linalg.inv(np.eye(len(A)) - A)
        state = np.zeros((len(x), len(A)), complex)
        for t in range(x.shape[1]):
            state = (state @ (np.eye(len(A)) + A).T + dt[i] * B[i] * x[:, t, i, None]) @ inverse.T
            y[:, t, i] += (state @ C[i]).real
    return y


@pytest.mark.parametrize("max_length", [checks.LENGTH - 5, checks.LENGTH, 2 * checks.LENGTH])
def test_truncated_outputs_change_nothing_but_the_parameter(max_length):
    """For sequences shorter than the longest one, as long, and longer; the drawn C is the same."""
    whole, cut = small(bidirectional=False), small(bidirectional=False, max_length=max_length)
    x = checks.random_inputs()
    expected = jax.jit(whole)(x)
    np.testing.assert_allclose(
        jax.jit(cut)(x), expected, rtol=checks.FLOAT32, atol=checks.FLOAT32 * jnp.abs(expected).max()
    )
    checks.check_steps_agree(cut, checks.FLOAT32)
    assert jnp.abs(whole.C[...] - cut.C[...]).max() > 0.1
    itself = small(bidirectional=False, max_length=max_length, truncate=False)
    np.testing.assert_array_equal(itself.C[...], whole.C[...])


def test_truncated_outputs_in_both_directions():
    mixer = small(max_length=2 * checks.LENGTH)
    checks.check_padding(mixer)
    checks.check_gradients(mixer)
    x = checks.random_inputs()
    expected = jax.jit(small())(x)
    np.testing.assert_allclose(
        jax.jit(mixer)(x), expected, rtol=checks.FLOAT32, atol=checks.FLOAT32 * jnp.abs(expected).max()
    )


@pytest.mark.parametrize("max_length", [16, 2 * checks.LENGTH])
def test_truncated_outputs_in_double_precision(max_length):
    with jax.enable_x64(True):
        checks.check_steps_agree(small(bidirectional=False, max_length=max_length), checks.FLOAT64)


def test_copies_are_dealt_to_channels_in_turn():
    mixer = small(copies=2)
    assert mixer.log_decay.shape == (2, 4) and mixer.P.shape == (1, 2, 4, 2) and mixer.B.shape == (2, 4, 2)
    mixer.B[...] = jnp.stack([jnp.ones((4, 2)), jnp.zeros((4, 2))])
    mixer.D[...] = jnp.zeros(checks.WIDTH)
    response = jnp.abs(jax.jit(mixer)(checks.random_inputs())).sum((0, 1))
    assert (response[::2] > 0).all() and (response[1::2] == 0).all()


def test_roles():
    assert checks.roles(small()) == {
        "log_decay": "spectrum",
        "frequency": "spectrum",
        "P": "spectrum",
        "B": "input_matrix",
        "C": "output_matrix",
        "D": "feedthrough",
        "log_dt": "step_size",
    }


def test_state_size():
    assert small().state_size == 2 * checks.WIDTH * 8


@pytest.mark.parametrize(
    ("init", "max_length"), [("legs", 0), ("legt", 0), ("legt", 2 * checks.LENGTH), ("fout", 2 * checks.LENGTH)]
)
def test_training_stays_finite(init, max_length):
    """Also where Lambda has next to no decay of its own, at a rate ten times the published one."""
    checks.trained(small(init=init, bidirectional=False, dt_max=1.0, max_length=max_length))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 7}, "must be even.*got 7"),
        ({"init": "legz"}, "'legz'.*legs"),
        ({"copies": 4}, "divide the width 6, or be 0; got 4"),
        ({"copies": -1}, "got -1"),
        ({"dt_max": 1e-5}, "dt_max"),
        ({"max_length": -1}, "max_length must be at least 0; got -1"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
