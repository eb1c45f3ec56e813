"""The selective scan: the authors' values and gradients, a float64 loop, and one backend against the other."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import selective_scan

from . import oracles

GOLDEN = Path(__file__).parents[1] / "golden"
BACKENDS = ("associative", "sequential")
# The golden arrays are float64; products of some tens of factors.
PARITY = 1e-10
# The same in float32: one rounding, 6e-8, for each of at most 68 steps.
FLOAT32 = 1e-5
# Two orders of the same float64 sums.
FLOAT64 = 1e-12

OPTIONAL = ("D", "z", "delta_bias", "h0")
# No kernel takes a bias of B.
WITH_BIAS = (*OPTIONAL, "B_bias")


@pytest.fixture(scope="module", autouse=True)
def shortest_chunks():
    """Also the parallel scan takes several chunks here, which by itself takes these small problems whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[selective_scan.__module__], "_PARALLEL_STATES", 1)
        yield


def authors_problem(name):
    """The golden arrays as arguments in our layout, and the rest."""
    golden = {key: array for key, array in np.load(GOLDEN / f"{name}.npz").items()}
    ours = {key: np.swapaxes(array, 1, 2) if array.ndim == 3 else array for key, array in golden.items()}
    ours["last_state"] = golden["last_state"]
    names = [key for key in ("u", "delta", "A", "B", "C", "D", "z", "delta_bias") if key in ours]
    return {key: ours[key] for key in names}, ours


def differentiate(arguments, cotangent, backend):
    """y, the last state, and the gradients of sum(y * cotangent)."""

    def loss(arguments):
        y, last = selective_scan(**arguments, delta_softplus=True, return_last_state=True, backend=backend)
        return jnp.sum(y * cotangent), (y, last)

    (_, (y, last)), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(arguments)
    return {"y": y, "last_state": last} | {f"grad_{key}": gradient for key, gradient in gradients.items()}


@pytest.mark.parametrize(
    ("name", "backend"), [("selective_scan_plain", "sequential"), *(("selective_scan_full", name) for name in BACKENDS)]
)
def test_authors_values_and_gradients(x64, name, backend):
    arguments, golden = authors_problem(name)
    for key, found in differentiate(arguments, golden["cotangent"], backend).items():
        np.testing.assert_allclose(found, golden[key], rtol=PARITY, atol=PARITY, err_msg=key)


@pytest.mark.parametrize("backend", BACKENDS)
def test_authors_values_and_gradients_in_single_precision(backend):
    arguments, golden = authors_problem("selective_scan_full")
    for key, found in differentiate(narrowed(arguments), golden["cotangent"].astype(np.float32), backend).items():
        assert found.dtype == jnp.float32
        assert oracles.relative_error(found, golden[key]) < FLOAT32, key


def random_problem(seed, batch=2, length=21, channels=3, n=4, number="real", optional=OPTIONAL, groups=()):
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(size=shape)  # noqa: E731
    maybe_complex = lambda *shape: normal(*shape) + (1j * normal(*shape) if number == "complex" else 0)  # noqa: E731
    problem = {
        "u": normal(batch, length, channels),
        "delta": rng.uniform(-3, 1, (batch, length, channels)),
        "A": -rng.uniform(0, 2, (channels, n)) + (1j * normal(channels, n) * 3 if number == "complex" else 0),
        "B": maybe_complex(batch, length, *groups, n),
        "C": maybe_complex(batch, length, *groups, n),
        "D": normal(channels),
        "z": normal(batch, length, channels),
        "delta_bias": normal(channels),
        "B_bias": maybe_complex(channels, n),
        "h0": maybe_complex(batch, channels, n),
    }
    return {key: array for key, array in problem.items() if key not in WITH_BIAS or key in optional}


def plain_loop(u, delta, A, B, C, D=0.0, z=None, delta_bias=0.0, B_bias=0.0, h0=0.0):
    """y and the last state, step by step, always with the softplus."""
    # For each channel: (b, l, d or 1, n).
    B, C = (x[:, :, None] if x.ndim == 3 else np.repeat(x, u.shape[2] // x.shape[2], axis=2) for x in (B, C))
    delta = np.log1p(np.exp(delta + delta_bias))
    h = np.zeros((u.shape[0], *A.shape), A.dtype) + h0
    y = np.zeros(u.shape)
    for t in range(u.shape[1]):
        h = np.exp(delta[:, t, :, None] * A) * h + (delta[:, t] * u[:, t])[..., None] * (B[:, t] + B_bias)
        out = (h * C[:, t]).sum(-1)
        y[:, t] = (2 * out.real if np.iscomplexobj(A) else out) + D * u[:, t]
    return y if z is None else y * z / (1 + np.exp(-z)), h


def narrowed(problem):
    return {key: jnp.asarray(x, jnp.complex64 if np.iscomplexobj(x) else jnp.float32) for key, x in problem.items()}


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 2, 15, 16, 17, 48, 50]),
    sizes=st.sampled_from([(1, 1, 1), (2, 3, 4), (3, 2, 1), (2, 4, 3)]),
    grouped=st.booleans(),
    number=st.sampled_from(["real", "complex"]),
    optional=st.sets(st.sampled_from(WITH_BIAS)),
    backend=st.sampled_from(BACKENDS),
)
def test_any_shape_is_the_loop(seed, length, sizes, grouped, number, optional, backend):
    batch, channels, n = sizes
    groups = (2 if channels % 2 == 0 else channels,) if grouped else ()
    problem = random_problem(seed, batch, length, channels, n, number, optional, groups)
    scan = jax.jit(partial(selective_scan, delta_softplus=True, return_last_state=True, backend=backend))
    y, last = scan(**narrowed(problem))
    expected, expected_last = plain_loop(**problem)
    assert y.shape == expected.shape and last.shape == expected_last.shape
    # Single outputs may cancel: errors are measured against the size of the terms, at least 1.
    np.testing.assert_allclose(y, expected, rtol=FLOAT32, atol=FLOAT32 * max(1, abs(expected).max()))
    np.testing.assert_allclose(last, expected_last, rtol=FLOAT32, atol=FLOAT32 * max(1, abs(expected_last).max()))


def test_backends_agree_in_value_and_gradient(x64):
    problem = random_problem(1, channels=4, number="complex", optional=WITH_BIAS, groups=(2,))

    def everything(backend):
        def loss(problem):
            y, last = selective_scan(**problem, delta_softplus=True, return_last_state=True, backend=backend)
            return jnp.sum(jnp.sin(y)) + jnp.sum(jnp.real(last) ** 2 + jnp.imag(last)), (y, last)

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(problem)

    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=FLOAT64, atol=FLOAT64),
        everything("associative"),
        everything("sequential"),
    )


def test_pieces_and_steps_are_the_whole(x64):
    problem = random_problem(2, length=37, number="complex", optional=WITH_BIAS)
    state, shared = problem.pop("h0"), {key: problem.pop(key) for key in ("A", "D", "delta_bias", "B_bias")}
    scan = jax.jit(partial(selective_scan, **shared, delta_softplus=True, return_last_state=True))
    y, last = scan(**problem, h0=state)
    parts = []
    for start, stop in ((0, 20), (20, 36), (36, 37)):
        part, state = scan(**{key: x[:, start:stop] for key, x in problem.items()}, h0=state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), y, rtol=FLOAT64, atol=FLOAT64)
    np.testing.assert_allclose(state, last, rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_under_vmap(x64, backend):
    problem = random_problem(3, length=18, optional=("D",))
    rows = np.stack([problem.pop("u"), np.ones((2, 18, 3))])
    gradient = jax.grad(lambda u: jnp.sum(selective_scan(u, **problem, backend=backend) ** 2))
    mapped = jax.jit(jax.vmap(gradient))(rows)
    each = jax.jit(gradient)
    np.testing.assert_allclose(mapped, np.stack([each(row) for row in rows]), rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_states_never_exist_for_the_whole_length(backend, monkeypatch):
    """Not even in the backward pass: 32768 steps of states would take 8 GiB."""
    monkeypatch.setattr(sys.modules[selective_scan.__module__], "_PARALLEL_STATES", 2**24)
    b, length, d, n = 16, 32768, 64, 64
    shapes = [(b, length, d), (b, length, d), (d, n), (b, length, n), (b, length, n)]
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    loss = jax.grad(lambda *x: jnp.sum(selective_scan(*x, backend=backend) ** 2), argnums=(0, 1, 2, 3, 4))
    compiled = jax.jit(loss).lower(*arguments).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * b * length * d * n / 2


@pytest.mark.parametrize(("states", "steps"), [(1, 2**24), (2**10, 2**14), (3 * 2**16, 64), (2**20, 16), (2**30, 16)])
def test_small_states_take_long_chunks(monkeypatch, states, steps):
    module = sys.modules[selective_scan.__module__]
    monkeypatch.setattr(module, "_PARALLEL_STATES", 2**24)
    assert module._parallel_chunk(states) == steps


def test_low_precision_inputs_keep_a_single_precision_state():
    problem = random_problem(4)
    low = {key: jnp.asarray(x, jnp.float32 if key == "A" else jnp.bfloat16) for key, x in problem.items()}
    y, last = jax.jit(partial(selective_scan, delta_softplus=True, return_last_state=True))(**low)
    assert y.dtype == jnp.bfloat16 and last.dtype == jnp.float32
    expected, _ = plain_loop(**{key: np.asarray(x, np.float64) for key, x in low.items()})
    # bfloat16 keeps 8 bits of the result.
    assert oracles.relative_error(np.asarray(y, np.float64), expected) < 2**-8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": np.ones((2, 3))}, r"u must be real \(b, l, d\)"),
        ({"u": np.ones((2, 0, 3))}, "l at least 1"),
        ({"u": np.ones((2, 21, 3), int)}, "u must be real.*int"),
        ({"A": np.ones((5, 4))}, "A must be .* d = 3"),
        ({"delta": np.ones((2, 20, 3))}, r"delta must have shape \(2, 21, 3\).*\(2, 20, 3\)"),
        ({"B": np.ones((2, 21, 3))}, r"B must have shape \(2, 21, 4\)"),
        ({"B": np.ones((2, 21, 2, 4))}, "the groups of B must divide the 3 channels of u, got 2"),
        ({"B_bias": np.ones((3, 3))}, r"B_bias must have shape \(3, 4\)"),
        ({"C": np.ones((21, 4))}, r"C must have shape \(2, 21, 4\)"),
        ({"D": np.ones((3, 1))}, r"D must have shape \(3,\)"),
        ({"h0": np.ones((2, 3))}, r"h0 must have shape \(2, 3, 4\)"),
        ({"z": np.ones((2, 21, 3), complex)}, "z must be real"),
        ({"B": np.ones((2, 21, 4), complex)}, "needs a complex A"),
    ],
)
def test_shapes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        selective_scan(**(narrowed(random_problem(5)) | {key: jnp.asarray(x) for key, x in change.items()}))


def test_unknown_backend():
    with pytest.raises(UserError, match=r"'parallel'.*associative.*sequential"):
        selective_scan(**narrowed(random_problem(5)), backend="parallel")
