"""S5: the authors' layer, its initialization, and what holds for every mixer."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.mixers.s5 import S5

from . import ssm_checks as checks

GOLDEN = Path(__file__).parents[1] / "golden"
# The golden outputs are float32 sums themselves.
PARITY = 1e-5


def small(**options):
    return S5(checks.WIDTH, **{"state_size": 8, "blocks": 2, "rngs": nnx.Rngs(0)} | options)


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("direction", ["uni", "bi"])
def test_authors_layer(discretization, direction):
    golden = np.load(GOLDEN / f"s5_ssm_{discretization}_{direction}.npz")
    states, width, _ = golden["B"].shape
    mixer = S5(
        width,
        state_size=2 * states,
        discretization=discretization,
        bidirectional=direction == "bi",
        rngs=nnx.Rngs(0),
    )
    mixer.lambda_real[...], mixer.lambda_imag[...] = golden["Lambda_re"], golden["Lambda_im"]
    mixer.B[...], mixer.D[...], mixer.log_dt[...] = golden["B"], golden["D"], golden["log_step"][:, 0]
    mixer.C[...] = np.stack([golden[name] for name in (["C1", "C2"] if direction == "bi" else ["C"])])
    y = jax.jit(mixer)(golden["u"][None])[0]
    np.testing.assert_allclose(y, golden["y"], rtol=PARITY, atol=PARITY * abs(golden["y"]).max())


def test_starts_from_hippo_blocks():
    mixer = S5(4, state_size=24, blocks=3, rngs=nnx.Rngs(0))
    one_block = ops.hippo_legs_diagonal(8)[0][:4]
    Lambda = mixer.lambda_real[...] + 1j * mixer.lambda_imag[...]
    np.testing.assert_allclose(Lambda, np.tile(one_block, 3), rtol=1e-6)


@pytest.mark.parametrize(
    ("output_init", "scale"),
    # The authors' scales, for real and imaginary part together; the change of basis keeps the norm of a real
    # and an imaginary row together, and half of the conjugate pairs is kept.
    [("lecun_normal", 1 / np.sqrt(64 * 32)), ("trunc_standard_normal", 1 / np.sqrt(64)), ("complex_normal", 0.5**0.5)],
)
def test_scales(output_init, scale):
    mixer = S5(32, state_size=64, blocks=2, output_init=output_init, rngs=nnx.Rngs(1))
    assert mixer.C.shape == (2, 32, 32, 2)
    # 4096 draws: a tenth is nine standard errors of a standard deviation.
    assert jnp.std(mixer.C[...]) == pytest.approx(scale, rel=0.1)
    # A real draw of variance 1/p has half of its energy in each of the two conjugate halves.
    assert jnp.std(mixer.B[...]) == pytest.approx(np.sqrt(0.5 / 64), rel=0.1)


def test_clipped_eigenvalues_never_grow():
    outputs = {}
    for clip in (False, True):
        mixer = small(clip_eigenvalues=clip)
        mixer.lambda_real[...] = jnp.full(4, 30.0)
        outputs[clip] = jax.jit(mixer)(checks.random_inputs())
    assert jnp.abs(outputs[True]).max() < 1e3 < jnp.abs(outputs[False]).max()


def test_roles():
    assert checks.roles(small()) == {
        "lambda_real": "spectrum",
        "lambda_imag": "spectrum",
        "B": "input_matrix",
        "C": "output_matrix",
        "D": "feedthrough",
        "log_dt": "step_size",
    }


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_steps_agree_in_single_precision(discretization):
    checks.check_steps_agree(small(bidirectional=False, discretization=discretization), checks.FLOAT32)


def test_state_size():
    assert small().state_size == 2 * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 7, "blocks": 1}, "multiple of twice.*state_size 7 and blocks 1"),
        ({"state_size": 8, "blocks": 3}, "state_size 8 and blocks 3"),
        ({"state_size": 0, "blocks": 1}, "state_size 0"),
        ({"blocks": 0}, "blocks 0"),
        ({"output_init": "lecun"}, "'lecun'.*did you mean lecun_normal"),
        ({"discretization": "euler"}, "'euler'.*bilinear, zoh"),
        ({"dt_min": 0.2}, "dt_min"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        small(**options)
