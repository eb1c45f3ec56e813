"""LRU: the published layer, its ring, the steps that lead to it, and what holds for every mixer."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.config import get_config
from ssm_bench.data import spec
from ssm_bench.errors import UserError
from ssm_bench.mixers.diagonal_rnn import DiagonalRNN
from ssm_bench.mixers.lru import LRU

from . import ssm_checks as checks

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden outputs are float32 sums themselves.
PARITY = 1e-5


def small(**options):
    return LRU(checks.WIDTH, **{"state_size": 8, "rngs": nnx.Rngs(0)} | options)


def test_reference_layer():
    golden = np.load(GOLDEN / "lru_layer.npz")
    states, width = golden["B_re"].shape
    mixer = LRU(width, state_size=states, rngs=nnx.Rngs(0))
    mixer.nu[...], mixer.theta[...] = golden["nu_log"], golden["theta_log"]
    mixer.log_gamma[...], mixer.D[...] = golden["gamma_log"], golden["D"]
    mixer.B[...] = np.stack([golden["B_re"], golden["B_im"]], -1)
    mixer.C[...] = np.stack([golden["C_re"], golden["C_im"]], -1)[None]
    y = jax.jit(mixer)(golden["u"][None])[0]
    np.testing.assert_allclose(y, golden["y"], rtol=PARITY, atol=PARITY * abs(golden["y"]).max())


def test_starts_on_its_ring_with_unit_states():
    mixer = LRU(64, state_size=256, r_min=0.9, r_max=0.99, max_phase=math.pi / 10, rngs=nnx.Rngs(0))
    radius = jnp.exp(-jnp.exp(mixer.nu[...]))
    assert radius.min() > 0.9 - 1e-4 and radius.max() < 0.99 + 1e-4
    assert jnp.exp(mixer.theta[...]).max() <= math.pi / 10
    np.testing.assert_allclose(jnp.exp(mixer.log_gamma[...]), jnp.sqrt(1 - radius**2), rtol=1e-4)
    # The scales of Orvieto et al.: 32768 numbers, so 5 % is over ten standard errors.
    assert jnp.std(mixer.B[...]) == pytest.approx(1 / math.sqrt(2 * 64), rel=0.05)
    assert jnp.std(mixer.C[...]) == pytest.approx(1 / math.sqrt(256), rel=0.05)


def test_slowest_published_ring():
    """Path-X: |lambda| up to 0.9999."""
    checks.check_gradients(small(r_min=0.999, r_max=0.9999, max_phase=math.pi / 10, bidirectional=True))


def test_roles():
    assert checks.roles(small()) == {
        "nu": "spectrum",
        "theta": "spectrum",
        "log_gamma": "input_matrix",
        "B": "input_matrix",
        "C": "output_matrix",
        "D": "feedthrough",
    }


def test_without_gamma_it_is_the_diagonal_rnn():
    """The same seed gives the same parameters, and gamma = 1 the same outputs."""
    lru, plain = small(), DiagonalRNN(checks.WIDTH, state_size=8, rngs=nnx.Rngs(0))
    assert set(checks.roles(plain)) == set(checks.roles(lru)) - {"log_gamma"}
    lru.log_gamma[...] = jnp.zeros(8)
    x = checks.random_inputs()
    np.testing.assert_allclose(jax.jit(plain)(x), jax.jit(lru)(x), rtol=PARITY, atol=PARITY)


def test_a_rung_of_the_ladder_changes_the_recurrence_alone():
    for task in ("text", "pathx"):
        lru = get_config("lru", spec(task))
        for rung in ("linear_rnn", "lru_disk", "lru_ring"):
            config = get_config(rung, spec(task))
            assert config.mixer.state_size == lru.mixer.state_size
            assert config.mixer.bidirectional == lru.mixer.bidirectional
            for section in ("scaffold", "optimizer", "train"):
                assert config[section].to_dict() == lru[section].to_dict()
            changed = {name for name, value in config.model.items() if value != lru.model[name]}
            assert changed == {"name", "mixer"}


def test_steps_agree_in_single_precision():
    checks.check_steps_agree(small(), checks.FLOAT32)


def test_state_size():
    assert small(bidirectional=True).state_size == 2 * small().state_size == 2 * 2 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"r_min": 0.9, "r_max": 0.5}, "r_min < r_max"),
        ({"max_phase": 0.0}, "max_phase"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
