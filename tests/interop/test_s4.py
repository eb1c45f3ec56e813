"""The layers of state-spaces/s4, with the authors' parameters, give the authors' outputs."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.interop import load_reference
from ssm_bench.mixers.s4 import S4
from ssm_bench.mixers.s4d import S4D

GOLDEN = Path(__file__).parents[1] / "golden"
# float32 on both sides: the authors' FFT, Cauchy sums and Vandermonde products against ours.
PARITY = 1e-5

SOURCE = "state-spaces/s4"
CASES = {
    "s4_layer_uni": (S4, {"dt_transform": "softplus"}),
    "s4_layer_bi": (S4, {}),
    "s4d_layer_uni": (S4D, {"disc": "bilinear", "dt_transform": "softplus"}),
    "s4d_layer_bi": (S4D, {}),
    "s4d_layer_minimal": (S4D, {}),
}


def golden(name):
    """Parameters by the authors' names, and the whole file."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    return {key.removeprefix("params/"): arrays[key] for key in arrays if key.startswith("params/")}, arrays


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=PARITY, atol=PARITY * abs(expected).max())


@pytest.mark.parametrize("name", CASES)
def test_authors_outputs(name):
    mixer, options = CASES[name]
    params, arrays = golden(name)
    layer = load_reference(SOURCE, params, **options)
    assert isinstance(layer.model.mixer, mixer)
    assert layer.model.mixer.causal == (not name.endswith("bi"))
    assert_close(layer(arrays["x"]), arrays["y"])
    if "lengths" in arrays:
        mask = np.arange(arrays["x"].shape[1]) < arrays["lengths"][:, None]
        assert_close(np.where(mask[..., None], layer(arrays["x"], mask), 0), arrays["y_lengths"] * mask[..., None])


def test_output_matrix_of_a_layer_that_has_run():
    """The authors store C (1 - A_bar^length) after the first call; another length then asks for C itself."""
    params, arrays = golden("s4_layer_uni")
    assert params["layer.kernel.l_kernel"] == arrays["x"].shape[1]
    layer = load_reference(SOURCE, params, dt_transform="softplus")
    assert_close(layer(arrays["x_short"]), arrays["y_short"])


def test_the_convolution_alone_and_the_recurrence():
    """Without the output map, and step by step from the authors' parameters."""
    params, arrays = golden("s4_layer_uni")
    inner = {k.removeprefix("layer."): v for k, v in params.items() if k.startswith("layer.")}
    layer = load_reference(SOURCE, inner, dt_transform="softplus")
    assert layer.model.output is None
    mixer, x = layer.model.mixer, jnp.asarray(arrays["x"])
    y, _ = mixer.extend(x, mixer.initial_state(len(x)))
    assert_close(y, np.asarray(mixer(x)))


def test_parameters_that_do_not_fit():
    params, _ = golden("s4_layer_uni")
    with pytest.raises(UserError, match=r"missing: layer\.kernel\.B$"):
        load_reference(SOURCE, {name: array for name, array in params.items() if name != "layer.kernel.B"})
    with pytest.raises(UserError, match=r"superfluous: layer\.E$"):
        load_reference(SOURCE, params | {"layer.E": np.zeros(3)})
    with pytest.raises(UserError, match=r"kernel\.P must have shape \(1, 6, 8, 2\); got \(1, 6, 9, 2\)"):
        load_reference(SOURCE, params | {"layer.kernel.P": np.zeros((1, 6, 9, 2))})
    with pytest.raises(UserError, match=r"kernel\.P is missing"):
        load_reference(SOURCE, {name: array for name, array in params.items() if name != "layer.kernel.P"})
    with pytest.raises(UserError, match=r"output_linear.0.weight must have shape \(12, 6, 1\); got \(12, 6, 2\)"):
        load_reference(SOURCE, params | {"output_linear.0.weight": np.zeros((12, 6, 2))})
    with pytest.raises(UserError, match=r"kernel\.C is missing"):
        load_reference(SOURCE, {})
    with pytest.raises(UserError, match=r"option real_transform None"):
        load_reference(SOURCE, params, real_transform=None)
    with pytest.raises(UserError, match=r"option dt_transform 'softmax'.*softplus"):
        load_reference(SOURCE, params, dt_transform="softmax")


@pytest.mark.parametrize("length", [-1, 2.5, np.nan, np.inf, [4, 8], []])
def test_the_length_that_a_kernel_is_made_for_is_one_whole_number(length):
    params, _ = golden("s4_layer_uni")
    with pytest.raises(UserError, match=r"layer\.kernel\.l_kernel must be one whole number, 0 or more; got "):
        load_reference(SOURCE, params | {"layer.kernel.l_kernel": np.array(length)}, dt_transform="softplus")
