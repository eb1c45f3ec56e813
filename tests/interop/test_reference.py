"""Whole classifiers with the authors' parameters give the authors' outputs."""

from pathlib import Path

import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.interop import load_reference

GOLDEN = Path(__file__).parents[1] / "golden"
# Three layers of float32 sums in another order, through batch statistics of a few dozen positions.
PARITY = 1e-4

S5, LRU = "lindermanlab/S5", "NicolasZucchet/minimal-LRU"
CASES = {
    "s5_classifier_image": (S5, {"activation": "half_glu1", "clip_eigs": True}),
    "s5_classifier_tokens": (S5, {"activation": "half_glu2", "clip_eigs": True}),
    "s5_retrieval": (S5, {}),
    "lru_classifier": (LRU, {}),
}


def golden(name):
    """Parameters and statistics by the authors' names, inputs and lengths, and the whole file."""
    arrays = np.load(GOLDEN / f"{name}.npz")

    def under(root):
        return {key.removeprefix(root): arrays[key] for key in arrays if key.startswith(root)}

    inputs = arrays["tokens"] if "tokens" in arrays else arrays["x"]
    lengths = arrays.get("lengths")
    return under("params/"), under("stats_after/"), inputs, lengths, arrays


@pytest.mark.parametrize("name", CASES)
def test_training_and_evaluation(name):
    source, options = CASES[name]
    params, after, inputs, lengths, expected = golden(name)
    model = load_reference(source, params, **options)
    np.testing.assert_allclose(model.log_probs(inputs, lengths, train=True), expected["logp_train"], rtol=PARITY)
    assert model.batch_stats.keys() == after.keys()
    for key, value in model.batch_stats.items():
        np.testing.assert_allclose(value, after[key], rtol=PARITY, atol=PARITY * abs(after[key]).max())
    np.testing.assert_allclose(model.log_probs(inputs, lengths), expected["logp_eval"], rtol=PARITY)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_with_given_statistics(name):
    source, options = CASES[name]
    params, statistics, inputs, lengths, expected = golden(name)
    model = load_reference(source, params, statistics, **options)
    for _ in range(2):
        np.testing.assert_allclose(model.log_probs(inputs, lengths), expected["logp_eval"], rtol=PARITY)
    for key, value in model.batch_stats.items():
        np.testing.assert_array_equal(value, statistics[key])


def test_nested_names_and_roots():
    params, _, inputs, _, expected = golden("lru_classifier")
    nested = {}
    for name, array in params.items():
        *folders, leaf = ("params", *name.split("/"))
        branch = nested
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[leaf] = array
    for tree in (nested, {f"params/{name}": array for name, array in params.items()}):
        model = load_reference(LRU, tree)
        np.testing.assert_allclose(model.log_probs(inputs, train=True), expected["logp_train"], rtol=PARITY)


def test_output_matrix_of_both_directions_in_one_array():
    """How S5 stores C with C_init "complex_normal"."""
    params, statistics, inputs, _, expected = golden("s5_classifier_image")
    joint = dict(params)
    for layer in range(3):
        name = f"encoder/layers_{layer}/seq"
        joint[f"{name}/C"] = np.concatenate([joint.pop(f"{name}/C1"), joint.pop(f"{name}/C2")], axis=1)
    model = load_reference(S5, joint, statistics, clip_eigs=True)
    np.testing.assert_allclose(model.log_probs(inputs), expected["logp_eval"], rtol=PARITY)


def test_unknown_names():
    params = golden("lru_classifier")[0]
    with pytest.raises(UserError, match=r"source 'lindermanlab/s5'.*did you mean lindermanlab/S5"):
        load_reference("lindermanlab/s5", params)
    with pytest.raises(UserError, match=r"option of lindermanlab/S5 'clip_eig'.*did you mean clip_eigs"):
        load_reference(S5, params, clip_eig=True)
    with pytest.raises(UserError, match=r"'half_glu3'"):
        load_reference(S5, golden("s5_classifier_image")[0], activation="half_glu3")


def test_parameters_that_do_not_fit():
    params, statistics, *_ = golden("lru_classifier")
    decay = "encoder/layers_1/seq/nu_log"
    with pytest.raises(UserError, match=rf"missing: {decay}$"):
        load_reference(LRU, {name: array for name, array in params.items() if name != decay})
    with pytest.raises(UserError, match=r"superfluous: encoder/positions$"):
        load_reference(LRU, params | {"encoder/positions": np.zeros(3)})
    with pytest.raises(UserError, match=rf"{decay} must have shape \(12,\); got \(13,\)"):
        load_reference(LRU, params | {decay: np.zeros(13)})
    with pytest.raises(UserError, match=r"encoder/encoder/kernel is missing"):
        load_reference(LRU, {})
    with pytest.raises(UserError, match="params must be a mapping from names to arrays; got list"):
        load_reference(LRU, [1, 2])
    with pytest.raises(UserError, match=rf"{decay} must be an array of numbers; got 'a'"):
        load_reference(LRU, params | {decay: "a"})
    with pytest.raises(UserError, match=r"decoder/kernel must have 2 axes, none empty; its shape is \(0, 5\)"):
        load_reference(LRU, params | {"decoder/kernel": np.zeros((0, 5))})
    with pytest.raises(UserError, match=r"batch statistics.*missing"):
        load_reference(LRU, params, dict(list(statistics.items())[1:]))
    # The gates of another activation than the arrays hold.
    with pytest.raises(UserError, match=r"missing: .*out1"):
        load_reference(S5, golden("s5_classifier_image")[0], activation="full_glu")


def test_pairs_of_documents_need_an_even_batch():
    params, statistics, tokens, lengths, _ = golden("s5_retrieval")
    with pytest.raises(UserError, match=r"even number of rows; got 5"):
        load_reference(S5, params, statistics).log_probs(tokens[:5], lengths[:5])


@pytest.mark.parametrize(
    ("name", "inputs", "lengths", "message"),
    [
        ("s5_classifier_tokens", np.zeros((2, 3, 4), int), None, r"token ids must have a shape \(batch, length\); got"),
        ("s5_classifier_tokens", np.array([[1, 99]]), None, r"token ids must lie in 0\.\.\d+; got 1\.\.99"),
        ("s5_classifier_tokens", np.array([[-1, 2]]), None, r"token ids must lie in 0\.\.\d+; got -1\.\.2"),
        ("s5_classifier_tokens", np.ones((2, 3), int), [2], r"lengths must have the shape \(2,\); got \(1,\)"),
        ("s5_classifier_tokens", np.ones((2, 3), int), [2, 4], r"lengths must lie in 1\.\.3; got 2\.\.4"),
        (
            "s5_classifier_image",
            np.zeros((2, 3, 2)),
            None,
            r"numbers \(batch, length, 1\); got float32 of shape \(2, 3, 2",
        ),
        ("s5_classifier_image", np.zeros((2, 3)), None, r"numbers \(batch, length, 1\); got float32 of shape \(2, 3\)"),
        ("lru_classifier", np.zeros((0, 3), int), None, r"token ids must have a shape .* got \(0, 3\)"),
    ],
)
def test_inputs_that_do_not_fit(name, inputs, lengths, message):
    source, options = CASES[name]
    params, statistics, *_ = golden(name)
    model = load_reference(source, params, statistics, **options)
    with pytest.raises(UserError, match=message):
        model.log_probs(inputs, None if lengths is None else np.array(lengths))


LAYERS = {
    "state-spaces/s4": ("s4d_layer_uni", {"disc": "bilinear", "dt_transform": "softplus"}),
    "state-spaces/mamba": ("mamba_block", {}),
    "google-deepmind/recurrentgemma": ("griffin_recurrent_block", {}),
}


@pytest.mark.parametrize("source", LAYERS)
def test_inputs_that_do_not_fit_a_layer(source):
    name, options = LAYERS[source]
    arrays = np.load(GOLDEN / f"{name}.npz")
    names = [
        key for key in arrays if key not in ("x", "y", "last_state") and not key.startswith(("x_", "y_", "lengths"))
    ]
    layer = load_reference(source, {key.removeprefix("params/"): arrays[key] for key in names}, **options)
    x = arrays["x"]
    assert layer(x).shape == x.shape
    width = x.shape[-1]
    for wrong in (x[0], x[..., :1], x[None], x.astype(int)):
        with pytest.raises(
            UserError, match=rf"the layer takes inputs \(batch, length, {width}\) of a float type, .*; got"
        ):
            layer(wrong)
    for mask in (np.ones((1, 3), bool), np.ones(x.shape[:2])):
        with pytest.raises(UserError, match=r"the layer takes a mask of bool \(.*\) for inputs \(.*\); got "):
            layer(x, mask)
