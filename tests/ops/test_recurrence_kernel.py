"""The kernel of the linear recurrence, interpreted on the CPU, against a loop in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.ops import linear_recurrence
from ssm_bench.ops.recurrence_kernel import fused_recurrence

from .lowering import lowered_for_a_gpu

# Single precision against double, over at most 700 steps that remember a few dozen.
TOLERANCE = 1e-5

# One segment with a chunk that is filled up, and eight segments.
SHAPES = [(37, 6), (700, 8)]


def loop(a, b, reverse):
    """h_t = a_t h_{t-1} + b_t, step by step."""
    h, states = np.zeros_like(b[:, 0]), np.zeros_like(b)
    for t in reversed(range(b.shape[1])) if reverse else range(b.shape[1]):
        h = a[:, t] * h + b[:, t]
        states[:, t] = h
    return states


@pytest.mark.parametrize(("length", "channels"), SHAPES)
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_every_state_is_that_of_the_loop(length, channels, constant, dtype):
    random = np.random.default_rng(length)
    shape = (2, length, channels)

    def normal(*shape):
        return random.standard_normal(shape) + (1j * random.standard_normal(shape) if dtype == "complex64" else 0)

    b = normal(*shape).astype(dtype)
    log_a = -random.uniform(0.02, 0.2, (1, 1, channels) if constant else shape).astype(np.float32)
    log_a = log_a + (1j * random.uniform(0, 3, log_a.shape)).astype(dtype) if dtype == "complex64" else log_a
    a = np.exp(log_a)
    for reverse in (False, True):
        expected = loop(np.broadcast_to(a, shape).astype(complex), b.astype(complex), reverse)
        h = fused_recurrence(
            jnp.asarray(a),
            jnp.asarray(b),
            jnp.asarray(log_a) if constant else None,
            constant=constant,
            reverse=reverse,
            interpret=True,
        )
        assert h.dtype == dtype
        np.testing.assert_allclose(h, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("constant", [False, True])
def test_it_lowers_for_a_gpu(constant):
    b = jax.ShapeDtypeStruct((4, 4096, 64), jnp.complex64)
    a = jax.ShapeDtypeStruct((1, 1, 64), jnp.complex64) if constant else b

    def run(a, b):
        return fused_recurrence(a, b, None, constant=constant, reverse=True)

    assert lowered_for_a_gpu(run, a, b).count("__gpu$xla.gpu.triton") == 2


def test_it_says_what_it_needs():
    with pytest.raises(UserError, match="NVIDIA GPU and float32 or complex64"):
        linear_recurrence(jnp.ones(2), jnp.ones((1, 3, 2)), backend="fused")
