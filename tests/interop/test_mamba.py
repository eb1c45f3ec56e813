"""The published Mamba layer with the authors' parameters gives the authors' outputs."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.interop import load_reference

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "mamba_block.npz")
PARAMETERS = {name.removeprefix("params/"): GOLDEN[name] for name in GOLDEN if name.startswith("params/")}
# float32 sums in another order: four projections, and a scan of 23 steps.
PARITY = 1e-5


def test_the_layer_is_the_authors():
    y = load_reference("state-spaces/mamba", PARAMETERS)(GOLDEN["x"])
    np.testing.assert_allclose(y, GOLDEN["y"], rtol=PARITY, atol=PARITY * abs(GOLDEN["y"]).max())


def test_padding_changes_nothing():
    layer = load_reference("state-spaces/mamba", PARAMETERS)
    mask = jnp.broadcast_to(jnp.arange(23) < 17, (2, 23))
    y = layer(np.where(mask[..., None], GOLDEN["x"], 100), mask)
    np.testing.assert_allclose(y[:, :17], GOLDEN["y"][:, :17], rtol=PARITY, atol=PARITY * abs(GOLDEN["y"]).max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A_log": None}, "A_log is missing"),
        ({"in_proj.bias": np.zeros(80)}, "superfluous: in_proj.bias"),
        ({"conv1d.weight": np.zeros((40, 4))}, "conv1d.weight must have 3 axes"),
        ({"x_proj.weight": np.zeros((13, 40))}, r"x_proj.weight must have shape \(14, 40\); got \(13, 40\)"),
    ],
)
def test_arrays_that_do_not_fit(change, message):
    changed = {name: array for name, array in (PARAMETERS | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        load_reference("state-spaces/mamba", changed)
