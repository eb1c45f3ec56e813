"""The scan of Mamba-2: the authors' values and gradients, a float64 loop, and the selective scan it is a case of."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.ops import selective_scan, ssd

from . import oracles

GOLDEN = Path(__file__).parents[1] / "golden" / "ssd.npz"
ARGUMENTS = ("x", "delta", "A", "B", "C")
# Two orders of the same float64 sums.
FLOAT64 = 1e-12
# One rounding, 6e-8, for each of some tens of terms.
FLOAT32 = 1e-5


def plain_loop(x, delta, A, B, C, D=None, h0=None):
    """The recurrence step by step in float64: y and the last state."""
    batch, length, heads, width = x.shape
    h = np.zeros((batch, heads, width, B.shape[2])) if h0 is None else np.array(h0, np.float64)
    y = np.zeros(x.shape)
    for t in range(length):
        decay = np.exp(delta[:, t] * A)[..., None, None]
        h = decay * h + (delta[:, t, :, None] * x[:, t])[..., None] * B[:, t, None, None]
        y[:, t] = (h * C[:, t, None, None]).sum(-1)
        if D is not None:
            y[:, t] += D[:, None] * x[:, t]
    return y, h


def random_problem(seed, batch=2, length=21, heads=2, width=3, n=4):
    rng = np.random.default_rng(seed)
    shapes = {"x": (heads, width), "delta": (heads,), "B": (n,), "C": (n,)}
    problem = {name: rng.normal(size=(batch, length, *shape)) for name, shape in shapes.items()}
    problem["delta"] = np.exp(problem["delta"] - 1)
    problem["A"] = -np.exp(rng.normal(size=heads))
    problem["D"] = rng.normal(size=heads)
    problem["h0"] = rng.normal(size=(batch, heads, width, n))
    return problem


def narrowed(problem):
    return {name: jnp.asarray(array, jnp.float32) for name, array in problem.items()}


@pytest.mark.parametrize("chunk", [16, 5, 64])
def test_authors_values_and_gradients(x64, chunk):
    golden = np.load(GOLDEN)

    def loss(arguments):
        y, last = ssd(**arguments, chunk=chunk, return_last_state=True)
        return jnp.sum(y * golden["cotangent"]), (y, last)

    arguments = {name: golden[name] for name in ARGUMENTS}
    (_, (y, last)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(arguments)
    found = {"y": y, "last_state": last} | {f"grad_{name}": gradient for name, gradient in gradients.items()}
    for name, array in found.items():
        np.testing.assert_allclose(array, golden[name], rtol=FLOAT64, atol=FLOAT64, err_msg=name)


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 7, 8, 9, 33]),
    chunk=st.sampled_from([1, 8, 64]),
    optional=st.sets(st.sampled_from(["D", "h0"])),
)
def test_any_length_is_the_loop(seed, length, chunk, optional):
    problem = random_problem(seed, length=length)
    problem = {name: array for name, array in problem.items() if name not in {"D", "h0"} - optional}
    y, last = jax.jit(partial(ssd, chunk=chunk, return_last_state=True))(**narrowed(problem))
    expected, expected_last = plain_loop(**problem)
    assert y.shape == expected.shape
    # Single outputs may cancel: errors are measured against the size of the terms, at least 1.
    np.testing.assert_allclose(y, expected, rtol=FLOAT32, atol=FLOAT32 * max(1, abs(expected).max()))
    np.testing.assert_allclose(last, expected_last, rtol=FLOAT32, atol=FLOAT32 * max(1, abs(expected_last).max()))


def test_it_is_a_selective_scan_with_one_decay_a_head(x64):
    problem = random_problem(1)
    heads, width, n = problem["h0"].shape[1:]
    channels = lambda array: array.reshape(*array.shape[:2], heads * width)  # noqa: E731

    def both(problem):
        y, last = ssd(**problem, chunk=8, return_last_state=True)
        repeated = {
            "u": channels(problem["x"]),
            "delta": jnp.repeat(problem["delta"], width, axis=2),
            "A": jnp.repeat(problem["A"], width)[:, None] * jnp.ones(n),
            "D": jnp.repeat(problem["D"], width),
            "h0": problem["h0"].reshape(-1, heads * width, n),
        }
        scanned, scanned_last = selective_scan(B=problem["B"], C=problem["C"], return_last_state=True, **repeated)
        return (channels(y), last.reshape(scanned_last.shape)), (scanned, scanned_last)

    def loss(problem, which):
        y, last = both(problem)[which]
        return jnp.sum(jnp.sin(y)) + jnp.sum(last**2)

    close = partial(np.testing.assert_allclose, rtol=FLOAT64, atol=FLOAT64)
    jax.tree.map(close, *jax.jit(both)(problem))
    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    jax.tree.map(close, gradient(problem, 0), gradient(problem, 1))


def test_pieces_are_the_whole(x64):
    problem = random_problem(2, length=19)
    state, shared = problem.pop("h0"), {name: problem.pop(name) for name in ("A", "D")}
    scan = jax.jit(partial(ssd, **shared, chunk=4, return_last_state=True))
    y, last = scan(**problem, h0=state)
    parts = []
    for start, stop in ((0, 6), (6, 7), (7, 19)):
        part, state = scan(**{name: array[:, start:stop] for name, array in problem.items()}, h0=state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), y, rtol=FLOAT64, atol=FLOAT64)
    np.testing.assert_allclose(state, last, rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize("size", [1e-4, 10.0, 1e4])
def test_steps_of_any_size(size):
    """A head that forgets everything at once, between heads that forget nothing, has finite gradients and digits."""
    problem = random_problem(3, length=40)
    problem["delta"][:, 13] *= size
    y, last = jax.jit(partial(ssd, chunk=32, return_last_state=True))(**narrowed(problem))
    expected, expected_last = plain_loop(**problem)
    assert oracles.relative_error(y, expected) < FLOAT32 and oracles.relative_error(last, expected_last) < FLOAT32
    gradients = jax.jit(jax.grad(lambda problem: jnp.sum(ssd(**problem, chunk=32) ** 2)))(narrowed(problem))
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_one_large_step_costs_no_digits_elsewhere():
    """Sums of logarithms as differences of two prefixes lose the small steps after a large one."""
    length = 16
    delta = np.full((1, length, 1), 1e-3)
    delta[:, 2] = 1e4
    ones = np.ones((1, length, 1))
    problem = {"x": ones[..., None], "delta": delta, "A": -np.ones(1), "B": ones, "C": ones}
    y = ssd(**narrowed(problem))
    expected, _ = plain_loop(**problem)
    np.testing.assert_allclose(y[:, 3:], expected[:, 3:], rtol=FLOAT32)


def test_low_precision_inputs_keep_a_single_precision_state():
    low = {name: array.astype(jnp.bfloat16) for name, array in narrowed(random_problem(4)).items()}
    y, last = jax.jit(partial(ssd, return_last_state=True))(**low)
    assert y.dtype == jnp.bfloat16 and last.dtype == jnp.float32
    expected, _ = plain_loop(**{name: np.asarray(array, np.float64) for name, array in low.items()})
    # bfloat16 keeps 8 bits of the result.
    assert oracles.relative_error(np.asarray(y, np.float64), expected) < 2**-8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.ones((2, 21, 6))}, r"x must be real \(b, l, heads, p\)"),
        ({"x": np.ones((2, 0, 2, 3))}, "l at least 1"),
        ({"delta": np.ones((2, 21, 3))}, r"delta must have shape \(2, 21, 2\)"),
        ({"A": np.ones((2, 4))}, r"A must have shape \(2,\)"),
        ({"B": np.ones((2, 20, 4))}, r"B must be \(2, 21, n\)"),
        ({"C": np.ones((2, 21, 5))}, r"C must have shape \(2, 21, 4\)"),
        ({"D": np.ones(3)}, r"D must have shape \(2,\)"),
        ({"h0": np.ones((2, 2, 4, 3))}, r"h0 must have shape \(2, 2, 3, 4\)"),
    ],
)
def test_shapes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        ssd(**(narrowed(random_problem(5)) | narrowed(change)))


def test_a_chunk_has_steps():
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        ssd(**narrowed(random_problem(5)), chunk=0)
