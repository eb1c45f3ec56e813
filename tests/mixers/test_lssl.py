"""LSSL: convolution, recurrence and a plain loop over dense matrices agree; what is fixed and what learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.mixers.lssl import LSSL

from . import ssm_checks as checks


def small(**options):
    return LSSL(checks.WIDTH, **{"state_size": 6, "rngs": nnx.Rngs(0)} | options)


def loop(mixer, x):
    """Each channel by itself, in float64."""
    A, B = ops.hippo_legs(mixer.C.shape[-1])
    C, D, dt = (np.asarray(p[...], np.float64) for p in (mixer.C, mixer.D, mixer.log_dt))
    y = D * np.asarray(x, np.float64)
    for i, step in enumerate(np.exp(dt)):
        inverse = np.linalg.inv(np.eye(len(A)) - step / 2 * A)
        state = np.zeros((len(x), len(A)))
        for t in range(x.shape[1]):
            state = (state + step / 2 * state @ A.T + step * B * np.asarray(x[:, t, i, None])) @ inverse.T
            y[:, t, i] += state @ C[0, i]
    return y


@pytest.mark.parametrize("trainable", [True, False])
def test_convolution_recurrence_and_loop_agree(trainable):
    options = {"bidirectional": False, "trainable": trainable}
    with jax.enable_x64(True):
        mixer = small(**options)
        nnx.update(mixer, jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), nnx.state(mixer, nnx.Param)))
        x = jnp.asarray(checks.random_inputs(), jnp.float64)
        whole = jax.jit(mixer)(x)
        stepped, state = jax.jit(mixer.extend)(x, mixer.initial_state(checks.BATCH))
        assert state[0].size == mixer.state_size == checks.WIDTH * 6
        for y in (whole, stepped):
            np.testing.assert_allclose(y, loop(mixer, x), rtol=checks.FLOAT64, atol=checks.FLOAT64 * jnp.abs(x).max())


def test_roles():
    others = {"C": "output_matrix", "D": "feedthrough", "log_dt": "step_size"}
    assert checks.roles(small()) == {"A": "spectrum", "B": "input_matrix"} | others
    assert checks.roles(small(trainable=False)) == others


def test_state_size():
    assert small().state_size == 2 * checks.WIDTH * 6


def test_training_keeps_the_state_matrix_stable():
    """At ten times the rate of the recipes."""
    params = checks.trained(small(bidirectional=False, dt_max=1.0))
    assert np.linalg.eigvals(np.asarray(params["A"][...])).real.max() < 0


@pytest.mark.parametrize(
    ("options", "message"), [({"state_size": 0}, "state_size must be at least 1; got 0"), ({"dt_max": 1e-5}, "dt_max")]
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
