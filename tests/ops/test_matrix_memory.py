"""Recurrences with a matrix memory per head: plain float64 loops, published values and gradients, pieces, extremes."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.ops import delta_rule, gated_delta_rule, gated_linear_attention, mlstm

from . import oracles

GOLDEN = Path(__file__).parents[1] / "golden"
# Two orders of the same float64 sums; the delta rule feeds errors back.
FLOAT64 = 1e-11
# The published loops run in float32, with one rounding, 6e-8, for each of some tens of terms.
FLOAT32 = 1e-5


def plain_loop(q, k, v, log_decay, a=None, b=None, state=None):
    """S_t = (diag(exp(log_decay_t)) + b_t a_t^T) S_{t-1} + k_t v_t^T and y_t = S_t^T q_t in float64."""
    S = np.zeros((*k.shape[:1], *k.shape[2:], v.shape[-1])) if state is None else np.array(state, np.float64)
    y = np.zeros(v.shape)
    for t in range(k.shape[1]):
        fed_back = 0 if a is None else b[:, t, ..., None] * np.einsum("bnm,bnmd->bnd", a[:, t], S)[:, :, None]
        S = np.exp(log_decay[:, t])[..., None] * S + fed_back + k[:, t, ..., None] * v[:, t, :, None]
        y[:, t] = np.einsum("bnm,bnmd->bnd", q[:, t], S)
    return y, S


def mlstm_loop(q, k, v, input_gate, forget_gate):
    """C, n and the output without a stabilizer, in float64."""
    forget = 1 / (1 + np.exp(-np.asarray(forget_gate, np.float64)))
    C, n, y = 0.0, 0.0, np.zeros(v.shape)
    for t in range(k.shape[1]):
        gated = np.exp(input_gate[:, t, ..., None]) * k[:, t]
        C = forget[:, t, ..., None, None] * C + gated[..., None] * v[:, t, :, None]
        n = forget[:, t, ..., None] * n + gated
        weight = np.maximum(np.abs((n * q[:, t]).sum(-1, keepdims=True)), 1)
        y[:, t] = np.einsum("bnm,bnmd->bnd", q[:, t], C) / weight
    return y


def problem(seed=0, length=37, shared=False, rank_one=True):
    rng = np.random.default_rng(seed)
    widths = {"q": 4, "k": 4, "v": 3, "log_decay": 1 if shared else 4}
    arrays = {name: rng.normal(size=(2, length, 2, width)) for name, width in widths.items()}
    arrays["log_decay"] = -np.exp(2 * arrays["log_decay"] - 2)
    arrays["state"] = rng.normal(size=(2, 2, 4, 3))
    if rank_one:
        arrays["a"] = rng.normal(size=(2, length, 2, 4))
        arrays["a"] /= np.linalg.norm(arrays["a"], axis=-1, keepdims=True)
        arrays["b"] = -arrays["a"] * rng.uniform(size=(2, length, 2, 4))
    return arrays


OPERATIONS = {False: gated_linear_attention, True: delta_rule}
each_operation = pytest.mark.parametrize("rank_one", [False, True], ids=["attention", "delta"])


@each_operation
@settings(max_examples=6)
@given(length=st.sampled_from([1, 16, 37]), chunk=st.sampled_from([0, 1, 7]), shared=st.booleans(), first=st.booleans())
def test_any_length_and_chunk_is_the_loop(rank_one, length, chunk, shared, first):
    arrays = problem(length, length, shared, rank_one)
    if not first:
        del arrays["state"]
    with jax.enable_x64(True):
        found = jax.jit(partial(OPERATIONS[rank_one], chunk=chunk))(**arrays)
    for array, expected in zip(found, plain_loop(**arrays), strict=True):
        np.testing.assert_allclose(array, expected, rtol=FLOAT64, atol=FLOAT64)


@each_operation
def test_gradients_are_those_of_the_recurrence_step_by_step(rank_one, x64):
    operation = OPERATIONS[rank_one]

    def by_steps(state, **arrays):
        def step(S, chunk):
            y, S = operation(**{name: array[:, None] for name, array in chunk.items()}, state=S)
            return S, y[:, 0]

        S, y = jax.lax.scan(step, state, {name: jnp.moveaxis(array, 1, 0) for name, array in arrays.items()})
        return jnp.moveaxis(y, 0, 1), S

    def gradient(run):
        loss = lambda arrays: sum(jnp.sum(jnp.sin(part)) for part in run(**arrays))  # noqa: E731
        return jax.jit(jax.grad(loss))(problem(1, 20, rank_one=rank_one))

    found, expected = gradient(operation), gradient(by_steps)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=FLOAT64, atol=FLOAT64, err_msg=name)


@each_operation
def test_decays_of_any_size_keep_digits_and_finite_gradients(rank_one):
    arrays = problem(2, rank_one=rank_one)
    # Some channels keep nearly everything, others lose everything at once.
    arrays["log_decay"] *= 10.0 ** np.linspace(-4, 4, 4)
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}

    def loss(arrays):
        y, _ = OPERATIONS[rank_one](**arrays)
        return jnp.sum(y**2), y

    gradients, y = jax.jit(jax.grad(loss, has_aux=True))(arrays)
    assert oracles.relative_error(y, plain_loop(**arrays)[0]) < FLOAT32
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def scaled(operation):
    """The published functions divide queries by the square root of their width."""
    return lambda q, **rest: operation(q * q.shape[-1] ** -0.5, **rest)


def retention(q, k, v):
    """Decay 1 - 2^(-5 - head), as published."""
    decay = np.log1p(-(2.0 ** -(5.0 + np.arange(q.shape[2]))))
    return gated_linear_attention(q, k, v, jnp.broadcast_to(decay[:, None], (*q.shape[:3], 1)))


PUBLISHED = {
    "fla_gla": gated_linear_attention,
    "fla_retention": retention,
    "fla_delta_rule": lambda q, k, v, beta: gated_delta_rule(q, k, v, beta, jnp.zeros_like(beta)),
    "fla_gated_delta_rule": gated_delta_rule,
    "fla_dplr": delta_rule,
    "xlstm_mlstm": mlstm,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values_and_gradients(name):
    golden = dict(np.load(GOLDEN / f"{name}.npz"))
    inputs = {key.removeprefix("grad_"): golden[key.removeprefix("grad_")] for key in golden if key.startswith("grad_")}

    def loss(inputs):
        y, last = scaled(PUBLISHED[name])(**inputs)
        return jnp.sum(y * golden["cotangent"]), (y, last)

    (_, (y, last)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(inputs)
    found = {"y": y} | {f"grad_{key}": gradient for key, gradient in gradients.items()}
    if "last_state" in golden:
        found["last_state"] = last
    errors = {key: oracles.relative_error(array, golden[key]) for key, array in found.items()}
    assert max(errors.values()) < FLOAT32, errors


def test_the_mlstm_is_the_loop_without_a_stabilizer_in_pieces_and_for_large_gates(x64):
    arrays = {k: v for k, v in problem(3).items() if k in "qkv"}
    rng = np.random.default_rng(4)
    arrays |= {"input_gate": 5 * rng.normal(size=(2, 37, 2)), "forget_gate": 3 * rng.normal(size=(2, 37, 2))}
    expected = mlstm_loop(**arrays)
    run = jax.jit(partial(mlstm, chunk=8))
    large = arrays | {"input_gate": 400 * arrays["input_gate"]}
    np.testing.assert_allclose(run(**arrays)[0], expected, rtol=FLOAT64, atol=FLOAT64)
    first, state = run(**{name: array[:, :16] for name, array in arrays.items()})
    second, _ = run(**{name: array[:, 16:] for name, array in arrays.items()}, state=state)
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, rtol=FLOAT64, atol=FLOAT64)
    # Beyond the range of exp(input_gate), values and gradients stay finite.
    gradients = jax.jit(jax.grad(lambda arrays: jnp.sum(mlstm(**arrays)[0] ** 2)))(large)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": np.ones((2, 37, 4))}, r"k must be real \(b, l, n, m\)"),
        ({"v": np.ones((2, 36, 2, 3))}, r"v must be \(2, 37, 2\) and d"),
        ({"q": np.ones((2, 37, 2, 5))}, r"q must have the shape \(2, 37, 2, 4\)"),
        ({"a": np.ones((2, 37, 2, 3))}, r"a must have the shape \(2, 37, 2, 4\)"),
        ({"log_decay": np.ones((2, 37, 2, 2))}, r"log_decay must have the shape .* or \(2, 37, 2, 1\)"),
        ({"state": np.ones((2, 2, 3, 4))}, r"state must have shape \(2, 2, 4, 3\)"),
        ({"chunk": -1}, "chunk must be at least 0, got -1"),
    ],
)
def test_shapes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        delta_rule(**(problem() | change))


@pytest.mark.parametrize("operation", [gated_delta_rule, mlstm])
def test_gates_have_one_number_a_head(operation):
    q, k, v = (problem()[name] for name in "qkv")
    with pytest.raises(ValueError, match=r"must have the shape \(2, 37, 2\)"):
        operation(q, k, v, np.ones((2, 37, 1)), np.ones((2, 37, 2)))
