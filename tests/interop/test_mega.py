"""The layers of facebookresearch/mega and XuezheMax/megalodon give the authors' outputs and gradients."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.interop import load_reference

GOLDEN = Path(__file__).parents[1] / "golden"
MEGA, MEGALODON = "facebookresearch/mega", "XuezheMax/megalodon"
# float32 on both sides, through an FFT, softmax and four linear maps.
PARITY = 1e-5

CASES = {
    "mega_softmax": (MEGA, {"prenorm": False, "truncation": 8}),
    "mega_laplace": (MEGA, {"attention_activation": "laplace", "norm_type": "batchnorm", "chunk_size": 4}),
    "mega_causal": (MEGA, {"attention_activation": "relu2", "norm_type": "scalenorm", "prenorm": False}),
    "megalodon_block": (MEGALODON, {"num_heads": 2, "chunk_size": 4, "norm_num_groups": 2}),
}

#: Parameters of Megalodon that ours exceed by 1.
FROM_ONE = ("mega.gamma", "mega.rmsnorm.weight", "mega.timenorm.weight", "nffn.norm.weight")


def loaded(name, arrays):
    """The authors' block, which arrays are the parameters of."""
    source, options = CASES[name]
    return load_reference(source, arrays, **options).model


def golden(name):
    """Parameters and their gradients by the authors' names, and the whole file."""
    arrays = np.load(GOLDEN / f"{name}.npz")
    return *(
        {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
        for prefix in ("params/", "gradients/")
    ), arrays


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=PARITY, atol=PARITY * np.abs(expected).max())


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_the_authors(name):
    params, gradients, arrays = golden(name)
    block = loaded(name, params)
    length = arrays["x"].shape[1]
    mask = np.arange(length) < arrays["lengths"][:, None] if "lengths" in arrays else None
    graph, learned, rest = nnx.split(block, nnx.Param, ...)

    @jax.jit
    @partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
    def run(learned, x):
        y = nnx.merge(graph, learned, rest)(x, mask)
        return (y * arrays["cotangent"]).sum(), y

    (_, y), (ours, by_x) = run(learned, jnp.asarray(arrays["x"]))
    true = np.ones(y.shape[:2], bool) if mask is None else mask
    close(y[true], arrays["y"][true])
    close(by_x[true], arrays["x_gradient"][true])
    # Linear maps of their arrays make ours: of parameters and of gradients alike.
    gradients = {key: value - (name == "megalodon_block" and key in FROM_ONE) for key, value in gradients.items()}
    buffers = {key: value for key, value in params.items() if "running" in key}
    jax.tree.map(close, ours, nnx.state(loaded(name, gradients | buffers), nnx.Param))


@pytest.mark.parametrize("name", ["mega_causal", "megalodon_block"])
def test_a_causal_layer_in_chunks_is_the_authors_whole(name):
    params, _, arrays = golden(name)
    block = loaded(name, params)
    assert block.mixer.causal
    extend = jax.jit(block.extend)
    state, parts = block.initial_state(len(arrays["x"])), []
    for begin, end in ((0, 5), (5, 6), (6, arrays["x"].shape[1])):
        part, state = extend(jnp.asarray(arrays["x"][:, begin:end]), state)
        parts.append(part)
    close(np.concatenate(parts, 1), arrays["y"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"nffn.fc1.weight": None}, {}, r"nffn\.fc1\.weight is missing"),
        ({"more": np.zeros(3)}, {}, "superfluous: more"),
        ({"mega_layer.v_proj.bias": np.zeros(3)}, {}, r"v_proj\.bias must have shape \(10,\); got \(3,\)"),
        ({}, {"norm_type": "groupnorm"}, "'group'"),
        ({}, {"attention_activation": "relu"}, "'relu'.*relu2"),
    ],
)
def test_arrays_and_options_that_do_not_fit(change, options, message):
    params, *_ = golden("mega_softmax")
    changed = {name: array for name, array in (params | change).items() if array is not None}
    with pytest.raises(UserError, match=message):
        load_reference(MEGA, changed, **(CASES["mega_softmax"][1] | options))
