"""The linear recurrence: values and gradients of both backends against a loop and against autodiff."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import linear_recurrence

from . import oracles

# Sums of at most a hundred products in float64.
FLOAT64 = 1e-12
# The same in float32, where the rounding of a, 6e-8, counts once for each of at most 33 steps.
FLOAT32 = 2e-5
# Accurate powers: one rounding per level of doubling, 14 levels.
ACCURATE = 2e-6

BACKENDS = ("associative", "sequential")
CASES = list(itertools.product(("varying", "constant", "log"), ("real", "complex"), (False, True)))


def random_problem(seed, kind, number, shape=(2, 13, 3), radius=0.95):
    """Random a (or log a), b and h0 in float64."""
    rng = np.random.default_rng(seed)
    a_shape = shape if kind == "varying" else shape[2:]
    log_a = np.log(rng.uniform(0.3, radius, a_shape))
    b, h0 = rng.normal(size=shape), rng.normal(size=(shape[0], *shape[2:]))
    if number == "complex":
        log_a = log_a + 1j * rng.uniform(-np.pi, np.pi, a_shape)
        b, h0 = b + 1j * rng.normal(size=b.shape), h0 + 1j * rng.normal(size=h0.shape)
    return log_a if kind == "log" else np.exp(log_a), b, h0


def solve(kind, coefficient, b, h0=None, **options):
    if kind == "log":
        return linear_recurrence(None, b, log_a=coefficient, h0=h0, **options)
    return linear_recurrence(coefficient, b, h0=h0, **options)


def differentiable_loop(kind, coefficient, b, h0, reverse):
    """The recurrence as an unrolled loop that autodiff walks through by itself."""
    a = jnp.exp(coefficient) if kind == "log" else coefficient
    state, states = h0, [None] * b.shape[1]
    for t in reversed(range(b.shape[1])) if reverse else range(b.shape[1]):
        state = (a[:, t] if kind == "varying" else a) * state + b[:, t]
        states[t] = state
    return jnp.stack(states, 1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "number", "reverse"), CASES)
def test_values(x64, backend, kind, number, reverse):
    coefficient, b, _ = random_problem(0, kind, number)
    a = np.exp(coefficient) if kind == "log" else coefficient
    h = jax.jit(partial(solve, kind, reverse=reverse, backend=backend))(coefficient, b)
    np.testing.assert_allclose(h, oracles.recurrence(a, b, reverse=reverse), rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize(("kind", "number", "reverse"), CASES)
def test_gradients_are_those_of_autodiff(x64, kind, number, reverse):
    arguments = random_problem(1, kind, number, shape=(2, 5, 3))
    weight = np.random.default_rng(2).normal(size=(2, 5, 3, 2))

    def gradients(recurrence):
        def loss(*arguments):
            h = recurrence(*arguments)
            return jnp.sum(weight[..., 0] * jnp.real(h) ** 2 + weight[..., 1] * jnp.imag(h))

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments)

    plain = gradients(partial(differentiable_loop, kind, reverse=reverse))
    for backend in BACKENDS:
        ours = gradients(partial(solve, kind, reverse=reverse, backend=backend))
        for found, expected in zip(ours, plain, strict=True):
            assert found.shape == expected.shape and found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=FLOAT64, atol=FLOAT64)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.sampled_from([1, 2, 3, 4, 5, 8, 17, 32, 33]),
    batch=st.integers(1, 3),
    trailing=st.sampled_from([(), (1,), (3,), (2, 2)]),
    kind=st.sampled_from(["varying", "constant", "log"]),
    number=st.sampled_from(["real", "complex"]),
    radius=st.sampled_from([0.5, 0.99, 1.0]),
    reverse=st.booleans(),
    backend=st.sampled_from(BACKENDS),
)
def test_any_shape_and_spectrum(seed, length, batch, trailing, kind, number, radius, reverse, backend):
    coefficient, b, h0 = random_problem(seed, kind, number, (batch, length, *trailing), radius)
    a = np.exp(coefficient) if kind == "log" else coefficient
    expected = oracles.recurrence(a, b, h0, reverse)
    single = [jnp.asarray(x, jnp.complex64 if np.iscomplexobj(x) else jnp.float32) for x in (coefficient, b, h0)]
    h = jax.jit(partial(solve, kind, reverse=reverse, backend=backend))(*single)
    assert h.shape == b.shape
    assert oracles.relative_error(h, expected) < FLOAT32


def test_log_a_keeps_slow_modes_accurate():
    rng = np.random.default_rng(3)
    log_a = (np.log(0.9999) + 1j * rng.uniform(-np.pi, np.pi, 8)).astype(np.complex64)
    b = (rng.normal(size=(1, 16384, 8)) + 1j * rng.normal(size=(1, 16384, 8))).astype(np.complex64)
    for reverse in (False, True):
        expected = oracles.recurrence(np.exp(log_a.astype(np.complex128)), b, reverse=reverse)
        h = jax.jit(
            lambda reverse=reverse: linear_recurrence(None, b, log_a=log_a, reverse=reverse, backend="associative")
        )()
        assert oracles.relative_error(h, expected) < ACCURATE


@pytest.mark.parametrize("backend", BACKENDS)
def test_under_transformations(x64, backend):
    a, b, _ = random_problem(4, "varying", "complex")
    constant = random_problem(4, "log", "complex")[0]
    rows = np.stack([b, 2 * b, 3 * b])

    def total(b, a, log_a):
        h = linear_recurrence(a, b, backend=backend) + linear_recurrence(None, b, log_a=log_a, backend=backend)
        return jnp.sum(jnp.abs(h) ** 2)

    gradient = jax.jit(jax.grad(total))
    plain = np.stack([gradient(row, a, constant) for row in rows])
    mapped = jax.jit(jax.vmap(jax.grad(jax.checkpoint(total)), in_axes=(0, None, None)))(rows, a, constant)
    scanned = jax.lax.scan(lambda carry, row: (carry, jax.grad(total)(row, a, constant)), 0, rows)[1]
    stacked = jax.jit(jax.vmap(total, in_axes=(None, 0, 0)))(
        b, jnp.stack([a, a / 2]), jnp.stack([constant, constant - 1])
    )
    np.testing.assert_allclose(mapped, plain, rtol=FLOAT64)
    np.testing.assert_allclose(scanned, plain, rtol=FLOAT64)
    np.testing.assert_allclose(stacked, [total(b, a, constant), total(b, a / 2, constant - 1)], rtol=FLOAT64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_broadcasts_and_mixes_types(x64, backend):
    a, b, _ = random_problem(5, "varying", "complex")
    narrow, real = a[:1, :, :1], np.real(b)
    expected = oracles.recurrence(np.broadcast_to(narrow, b.shape), real)
    np.testing.assert_allclose(linear_recurrence(narrow, real, backend=backend), expected, rtol=FLOAT64, atol=FLOAT64)
    gradient = jax.grad(lambda b: jnp.sum(jnp.imag(linear_recurrence(narrow, b, backend=backend))))(real)
    assert gradient.dtype == jnp.float64


def test_low_precision_inputs_keep_a_single_precision_state():
    b = jnp.ones((1, 2048, 1), jnp.bfloat16)
    log_a = jnp.log(jnp.full(1, 0.999))
    for backend in BACKENDS:
        h = jax.jit(partial(linear_recurrence, None, log_a=log_a, backend=backend))(b)
        assert h.dtype == jnp.float32
        np.testing.assert_allclose(h[0, -1, 0], (1 - 0.999**2048) / 0.001, rtol=1e-4)  # 0.999 itself is rounded


def test_errors():
    b = jnp.ones((2, 5, 3))
    with pytest.raises(UserError, match=r"'parallel'.*associative.*sequential"):
        linear_recurrence(jnp.ones(3), b, backend="parallel")
    with pytest.raises(ValueError, match="needs a or log_a"):
        linear_recurrence(None, b)
    with pytest.raises(ValueError, match="rank"):
        linear_recurrence(jnp.ones((5, 3)), b)
    with pytest.raises(ValueError, match="4 steps"):
        linear_recurrence(jnp.ones((2, 4, 3)), b)
    with pytest.raises(ValueError, match=r"a must be \(3,\).*got the shape \(4,\)"):
        linear_recurrence(jnp.ones(4), b)
    with pytest.raises(ValueError, match=r"a must be \(2, 5, 3\).*got the shape \(3, 5, 3\)"):
        linear_recurrence(jnp.ones((3, 5, 3)), b)
    with pytest.raises(ValueError, match=r"h0 must be \(2, 3\).*got the shape \(5, 3\)"):
        linear_recurrence(jnp.ones(3), b, h0=jnp.ones((5, 3)))
    with pytest.raises(ValueError, match="at least one step"):
        linear_recurrence(jnp.ones(3), b[:, :0])
