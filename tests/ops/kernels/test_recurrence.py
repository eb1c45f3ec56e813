"""The kernel of the linear recurrence, interpreted on the CPU: a loop in double precision, and the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import backends, linear_recurrence
from ssm_bench.ops.kernels import recurrence, walk
from ssm_bench.ops.kernels.recurrence import fused_recurrence

from .. import oracles
from ..lowering import lowered_for_a_gpu

# Both are float32 and take the same steps; where time is cut, they multiply and add in another order.
TOLERANCE = 1e-5

# One segment, with steps that fill no chunk of 4; four, the last shorter; more than are loaded together, all whole.
SMALL, LONG, MANY = ((2, 9, 6), 1), ((1, 29, 8), 4), ((1, 64, 2), 8)


@pytest.fixture
def short_chunks(monkeypatch):
    """Less to interpret."""
    monkeypatch.setattr(walk, "CHUNK", 4)


def random_system(shape, constant, dtype, modulus=0.9):
    """Coefficients, or the logarithm of constant ones; inputs and a first state."""
    random = np.random.default_rng(shape[1])

    def normal(*shape):
        return random.standard_normal(shape) + (1j * random.standard_normal(shape) if dtype == "complex64" else 0)

    log_a = np.log(modulus) * random.uniform(0.5, 1.5, shape[2:] if constant else shape)
    if dtype == "complex64":
        log_a = log_a + 1j * random.uniform(-3, 3, log_a.shape)
    arrays = log_a if constant else np.exp(log_a), normal(*shape), normal(shape[0], *shape[2:])
    return [jnp.asarray(x.astype(dtype)) for x in arrays]


@pytest.mark.parametrize(
    ("size", "constant", "dtype", "reverse"),
    [
        (LONG, False, "float32", True),
        (SMALL, True, "complex64", False),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                (SMALL, False, "float32", False),
                (MANY, False, "complex64", False),
                (LONG, True, "complex64", True),
                (MANY, True, "float32", False),
            )
        ),
    ],
)
@pytest.mark.usefixtures("short_chunks")
def test_values_and_gradients(monkeypatch, size, constant, dtype, reverse):
    shape, programs = size
    monkeypatch.setattr(recurrence, "_PROGRAMS", programs)
    system = random_system(shape, constant, dtype)

    def fused(a, b, h0):
        return fused_recurrence(a, b, h0, logarithmic=constant, reverse=reverse, interpret=True)

    def reference(a, b, h0):
        a, log_a = (None, a) if constant else (a, None)
        return linear_recurrence(a, b, log_a=log_a, h0=h0, reverse=reverse, backend="sequential")

    def values_and_gradients(run):
        def loss(*system):
            h = run(*system)
            return jnp.sum(jnp.real(h * jnp.exp(1j * jnp.arange(h.size)).reshape(h.shape))), h

        (_, h), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(*system)
        return h, *gradients

    for ours, expected in zip(values_and_gradients(fused), values_and_gradients(reference), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("dtype", ["float32", pytest.param("complex64", marks=pytest.mark.thorough)])
@pytest.mark.usefixtures("short_chunks")
def test_near_the_unit_circle_every_state_is_that_of_the_loop(monkeypatch, dtype):
    monkeypatch.setattr(recurrence, "_PROGRAMS", 8)
    a, b, h0 = random_system((1, 512, 4), False, dtype, modulus=0.9999)
    h = fused_recurrence(a, b, h0, reverse=False, interpret=True)
    assert oracles.relative_error(h, oracles.recurrence(a, b, h0)) < TOLERANCE


@pytest.mark.usefixtures("short_chunks")
def test_axes_after_time_may_be_many(monkeypatch):
    monkeypatch.setattr(recurrence, "_PROGRAMS", 1)
    a, b, h0 = random_system((1, 16, 2, 3), True, "float32")
    a = jnp.exp(a)
    h = fused_recurrence(a, b, h0, reverse=False, interpret=True)
    assert oracles.relative_error(h, oracles.recurrence(a, b, h0)) < TOLERANCE


@pytest.mark.parametrize(
    ("constant", "dtype", "length", "backend"),
    [
        (False, jnp.float32, 4001, "auto"),
        pytest.param(False, jnp.complex64, 4096, "fused", marks=pytest.mark.thorough),
        pytest.param(True, jnp.complex64, 4096, "fused", marks=pytest.mark.thorough),
    ],
)
def test_it_lowers_for_a_gpu(monkeypatch, constant, dtype, length, backend):
    monkeypatch.setattr(backends, "kernels_run", lambda: True)
    b, h0 = jax.ShapeDtypeStruct((4, length, 64), dtype), jax.ShapeDtypeStruct((4, 64), dtype)
    a = jax.ShapeDtypeStruct((64,), dtype) if constant else b

    def loss(a, b, h0):
        a, log_a = (None, a) if constant else (a, None)
        return jnp.sum(jnp.real(linear_recurrence(a, b, log_a=log_a, h0=h0, reverse=True, backend=backend)))

    text = lowered_for_a_gpu(jax.grad(loss, argnums=(0, 1, 2)), a, b, h0)
    # Ends of segments and states, forward and backward.
    assert text.count("__gpu$xla.gpu.triton") == 4
