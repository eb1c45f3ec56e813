"""Published layers of Griffin with the authors' parameters give the authors' outputs."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.interop import load_reference

GOLDEN = Path(__file__).parents[1] / "golden"
SOURCE = "google-deepmind/recurrentgemma"
# float32 sums in another order, through five linear maps and a recurrence or softmax.
PARITY = 1e-5

CASES = {
    "rg_lru_heads1": {},
    "rg_lru_heads4": {},
    "griffin_recurrent_block": {},
    "griffin_attention_block": {"attention_window_size": 5},
}


def golden(name):
    """Parameters by the authors' names, input and output."""
    arrays = dict(np.load(GOLDEN / f"{name}.npz"))
    x, y = arrays.pop("x"), arrays.pop("y")
    arrays.pop("last_state", None)
    return arrays, x, y


@pytest.mark.parametrize("name", CASES)
def test_the_layer_is_the_authors_and_padding_changes_nothing(name):
    parameters, x, y = golden(name)
    layer = load_reference(SOURCE, parameters, **CASES[name])
    close = {"rtol": PARITY, "atol": PARITY * abs(y).max()}
    np.testing.assert_allclose(layer(x), y, **close)
    length = x.shape[1] - 6
    mask = jnp.broadcast_to(jnp.arange(x.shape[1]) < length, x.shape[:2])
    np.testing.assert_allclose(layer(np.where(mask[..., None], x, 100), mask)[:, :length], y[:, :length], **close)


@pytest.mark.parametrize("name", ["griffin_recurrent_block", "griffin_attention_block"])
def test_a_block_in_chunks_is_the_authors_whole(name):
    parameters, x, y = golden(name)
    block = load_reference(SOURCE, parameters, **CASES[name]).model
    extend = jax.jit(block.extend)
    state, parts = block.initial_state(len(x)), []
    for begin, end in ((0, 9), (9, 10), (10, x.shape[1])):
        part, state = extend(jnp.asarray(x[:, begin:end]), state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), y, rtol=PARITY, atol=PARITY * abs(y).max())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rg_lru_heads4", {"a_param": None}, "a_param is missing"),
        ("rg_lru_heads4", {"a_gate/w": np.zeros((3, 2, 2))}, r"blocks must divide the width \d+; got 3"),
        ("griffin_recurrent_block", {"mlp_block/ffw_up/b": None}, r"missing: mlp_block/ffw_up\[0\]/bias"),
        ("griffin_recurrent_block", {"recurrent_block/linear_y/bias": np.zeros(3)}, r"must have shape \(16,\)"),
        ("griffin_attention_block", {"more": np.zeros(3)}, "superfluous: more"),
    ],
)
def test_arrays_that_do_not_fit(name, change, message):
    parameters, *_ = golden(name)
    changed = {name: array for name, array in (parameters | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        load_reference(SOURCE, changed)
