"""The dense recurrence: values and gradients of both backends against a loop and against autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import dense_recurrence
from ssm_bench.ops.dense import solve_systems

from . import oracles

# Sums of a few hundred products in float64.
FLOAT64 = 1e-11
# The same in float32, whose rounding, 6e-8, counts once for each of at most 33 steps and grows with a matrix that is
# not normal.
FLOAT32 = 5e-5

BACKENDS = ("associative", "sequential")


def oracle(A, b, h0=None, reverse=False):
    """x_t = A x_{t-1} + b_t, a plain loop in double precision."""
    A, b = np.asarray(A, np.complex128), np.asarray(b, np.complex128)
    x = np.zeros_like(b)
    for row in range(b.shape[0]):
        state = np.zeros(b.shape[2], complex) if h0 is None else np.asarray(h0[row], complex)
        steps = range(b.shape[1])
        for t in reversed(steps) if reverse else steps:
            state = A @ state + b[row, t]
            x[row, t] = state
    return x


def random_problem(seed, batch, length, states, number="real"):
    """Random A, of spectral radius 0.95, b and h0 in float64."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape) + (1j * rng.normal(size=shape) if number == "complex" else 0)

    A = draw(states, states)
    return 0.95 * A / np.abs(np.linalg.eigvals(A)).max(), draw(batch, length, states), draw(batch, states)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("number", ["real", "complex"])
def test_values(x64, backend, reverse, number):
    A, b, h0 = random_problem(0, 2, 13, 4, number)
    for start in (None, h0):
        x = jax.jit(partial(dense_recurrence, reverse=reverse, backend=backend))(A, b, h0=start)
        np.testing.assert_allclose(x, oracle(A, b, start, reverse), rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("number", ["real", "complex"])
def test_gradients_are_those_of_autodiff(x64, reverse, number):
    arguments = random_problem(1, 2, 6, 3, number)
    weight = np.random.default_rng(2).normal(size=(2, 6, 3, 2))

    def unrolled(A, b, h0):
        state, states = h0, [None] * b.shape[1]
        for t in reversed(range(b.shape[1])) if reverse else range(b.shape[1]):
            state = state @ A.T + b[:, t]
            states[t] = state
        return jnp.stack(states, 1)

    def gradients(recurrence):
        def loss(A, b, h0):
            x = recurrence(A, b, h0)
            return jnp.sum(weight[..., 0] * jnp.real(x) ** 2 + weight[..., 1] * jnp.imag(x))

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*arguments)

    plain = gradients(unrolled)
    for backend in BACKENDS:
        ours = gradients(lambda A, b, h0, k=backend: dense_recurrence(A, b, h0=h0, reverse=reverse, backend=k))
        for found, expected in zip(ours, plain, strict=True):
            assert found.shape == expected.shape and found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=FLOAT64, atol=FLOAT64)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    length=st.sampled_from([1, 2, 3, 4, 7, 8, 17, 33]),
    states=st.integers(1, 5),
    reverse=st.booleans(),
    backend=st.sampled_from(BACKENDS),
)
def test_any_shape(seed, batch, length, states, reverse, backend):
    A, b, h0 = (np.float32(array) for array in random_problem(seed, batch, length, states))
    x = jax.jit(partial(dense_recurrence, reverse=reverse, backend=backend))(A, b, h0=h0)
    assert x.shape == b.shape and x.dtype == jnp.float32
    assert oracles.relative_error(x, oracle(A, b, h0, reverse)) < FLOAT32


def test_low_precision_inputs_keep_a_single_precision_state():
    b = jnp.ones((1, 300, 2), jnp.bfloat16)
    for backend in BACKENDS:
        x = jax.jit(partial(dense_recurrence, backend=backend))(jnp.eye(2), b)
        # In bfloat16, 256 + 1 is 256.
        assert x.dtype == jnp.float32 and x[0, -1, 0] == 300


def test_errors():
    b = jnp.ones((2, 5, 3))
    with pytest.raises(UserError, match=r"'parallel'.*associative.*sequential"):
        dense_recurrence(jnp.eye(3), b, backend="parallel")
    with pytest.raises(ValueError, match=r"needs \(n, n\)"):
        dense_recurrence(jnp.eye(4), b)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), states=st.sampled_from([1, 2, 5, 16]), columns=st.sampled_from([1, 7]))
def test_systems_are_solved_with_gradients_like_lapack(seed, states, columns):
    """Also where the first pivots are zero."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(3, states, states)) + 2 * np.roll(np.eye(states), 1, axis=0)
    A[0] = np.roll(np.eye(states), 1, axis=0)
    b = rng.normal(size=(3, states, columns))
    with jax.enable_x64(True):

        def run(solve):
            def loss(A, b):
                x = solve(A, b)
                return jnp.sum(jnp.sin(x)), x

            (_, x), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(A, b)
            return x, gradients

        def error(found, expected):
            scale = np.linalg.cond(A).max() ** 2 * max(1, np.abs(expected).max())
            np.testing.assert_allclose(found, expected, rtol=FLOAT64, atol=1e-15 * scale * states)

        jax.tree.map(error, run(solve_systems), run(jnp.linalg.solve))


def test_a_system_without_unknowns_has_an_empty_solution():
    assert solve_systems(jnp.zeros((3, 0, 0)), jnp.zeros((3, 0, 2))).shape == (3, 0, 2)
