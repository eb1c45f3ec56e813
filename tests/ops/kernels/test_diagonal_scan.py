"""The kernel of `diagonal_ssm`, interpreted, against the reference; and that it lowers for a GPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import diagonal, diagonal_ssm
from ssm_bench.ops.kernels import diagonal_scan, walk
from ssm_bench.ops.kernels.diagonal_scan import fused_states

from .. import oracles
from ..lowering import lowered_for_a_gpu

# Float32 sums of 12 products, carried over 128 steps by a power of the decay that is rounded once.
TOLERANCE = 2e-5
# A rounding of bfloat16 (2^-8) at the inputs, the states and the gradients.
BFLOAT16 = 2e-2


@pytest.fixture
def short_chunks(monkeypatch):
    """Less to interpret."""
    monkeypatch.setattr(walk, "CHUNK", 4)


def random_system(b, length, h, p, outputs, modulus=0.9):
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    log_a = np.log(modulus) * rng.uniform(0.5, 1, p) + 1j * rng.uniform(-3, 3, p)
    B, C = normal(p, h) + 1j * normal(p, h), normal(outputs, h, p) + 1j * normal(outputs, h, p)
    C = C if outputs == 2 else C[0]
    return tuple(jnp.asarray(x) for x in (normal(b, length, h), log_a.astype(np.complex64), B, C))


def values_and_gradients(run, u, *system):
    def loss(u, *system):
        y = run(u, *system).astype(jnp.float32)
        return jnp.sum(jnp.sin(jnp.arange(y.size)).reshape(y.shape) * y), y

    (_, y), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(u, *system)
    return (y, *gradients)


def in_float64(system):
    """Values and gradients of the reference in float64."""
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.complex128 if np.iscomplexobj(x) else np.float64) for x in system]
        return [np.asarray(x) for x in values_and_gradients(partial(diagonal_ssm, backend="sequential"), *wide)]


@pytest.mark.parametrize(
    ("size", "programs"),
    # One segment of time; four, with steps that do not fill a chunk; one direction near the unit circle.
    [
        pytest.param((2, 8, 3, 8, 2, 0.9), 1, marks=pytest.mark.thorough),
        ((1, 29, 3, 12, 2, 0.9), 64),
        pytest.param((1, 128, 4, 3, 1, 0.9999), 4096, marks=pytest.mark.thorough),
    ],
)
@pytest.mark.usefixtures("short_chunks")
def test_values_and_gradients(monkeypatch, size, programs):
    monkeypatch.setattr(diagonal_scan, "PROGRAMS", programs)
    system = random_system(*size)
    fused = values_and_gradients(lambda *s: diagonal._fused(*s, interpret=True), *system)
    reference = values_and_gradients(lambda *s: diagonal_ssm(*s, backend="sequential"), *system)
    for ours, expected in zip(fused, reference, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.thorough
@pytest.mark.usefixtures("short_chunks")
def test_activations_in_half_precision_keep_a_float32_state():
    u, *system = random_system(1, 64, 4, 4, 2, 0.9999)
    half = values_and_gradients(lambda *s: diagonal._fused(*s, interpret=True), u.astype(jnp.bfloat16), *system)
    single = values_and_gradients(lambda *s: diagonal_ssm(*s, backend="sequential"), u, *system)
    assert half[1].dtype == jnp.bfloat16
    for ours, expected in zip(half, single, strict=True):
        assert oracles.relative_error(ours.astype(expected.dtype), expected) < BFLOAT16


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.thorough)])
def test_it_lowers_for_a_gpu(dtype):
    def run(v, log_a):
        return fused_states(v, log_a, 2).astype(jnp.float32).sum()

    v, log_a = jax.ShapeDtypeStruct((2, 4096, 96), dtype), jax.ShapeDtypeStruct((48,), jnp.complex64)
    text = lowered_for_a_gpu(jax.grad(run, argnums=(0, 1)), v, log_a)
    # Ends of segments and states, forward and backward, the latter for each direction.
    assert text.count("__gpu$xla.gpu.triton") == 5
