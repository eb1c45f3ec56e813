"""The kernel of the RG-LRU, interpreted on the CPU, against the reference in float64; and that it lowers for a GPU."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import backends, rg_lru
from ssm_bench.ops.kernels import rg_lru as rg_lru_kernel
from ssm_bench.ops.kernels import walk

from .. import oracles
from ..lowering import lowered_for_a_gpu

# The package gives the function by the name of its module.
module = sys.modules["ssm_bench.ops.rg_lru"]

# float32 against float64, over the memory of 60 steps.
TOLERANCE = 5e-6
# Each of 1024 states of a memory longer than them is rounded once, but no decay is.
LONG_MEMORY = 3e-6
# A rounding of bfloat16 (2^-8) at the inputs, the states and the gradients.
BFLOAT16 = 2e-2


@pytest.fixture
def short_chunks(monkeypatch):
    """Less to interpret."""
    monkeypatch.setattr(walk, "CHUNK", 4)
    monkeypatch.setattr(rg_lru_kernel, "_AHEAD", 2)


def random_problem(b, length, h):
    """With gates that are closed and open beyond what float32 tells from 0 and 1, and decays that are none."""
    rng = np.random.default_rng(0)
    x, gate_x, gate_a = rng.normal(size=(3, b, length, h)) * np.array([1, 2, 4]).reshape(3, 1, 1, 1)
    gate_x[:, 1:2, :2], extremes = (200, -200), np.array([200, 20, -20, -200])
    gate_a[:, 2:6, 0] = extremes[: max(0, length - 2)]
    return [jnp.asarray(a, jnp.float32) for a in (x, gate_x, gate_a, np.linspace(-20, 1, h), rng.normal(size=(b, h)))]


def values_and_gradients(run, arguments):
    def loss(*arguments):
        y, last = (part.astype(arguments[3].dtype) for part in run(*arguments))
        return jnp.sum(jnp.cos(jnp.arange(y.size).reshape(y.shape)).astype(y.dtype) * y) + jnp.sum(last), (y, last)

    (_, values), gradients = jax.jit(jax.value_and_grad(loss, argnums=range(5), has_aux=True))(*arguments)
    return *values, *gradients


def both(begin):
    """The kernel and the reference, for sequences that begin here, those that go on, or some of both."""

    def options(h0):
        fresh = jnp.arange(len(h0)) % 2 == 0 if begin == "some" else None
        return {"h0": None if begin == "all" else h0, "fresh": fresh}

    def fused(*arguments):
        return module._fused(*arguments[:4], 8.0, **options(arguments[4]), interpret=True)

    def reference(*arguments):
        return rg_lru(*arguments[:4], **options(arguments[4]), return_last_state=True, backend="sequential")

    return fused, reference


@pytest.mark.parametrize(
    ("size", "programs", "begin"),
    # Fewer steps than are loaded ahead; steps that fill no chunk of 4; four segments, the last shorter; more than are
    # loaded together, all whole.
    [
        pytest.param((1, 1, 4), 1, "none", marks=pytest.mark.thorough),
        pytest.param((2, 9, 6), 1, "some", marks=pytest.mark.thorough),
        ((1, 29, 8), 4, "all"),
        pytest.param((1, 64, 4), 8, "none", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.usefixtures("x64", "short_chunks")
def test_values_and_gradients(monkeypatch, size, programs, begin):
    monkeypatch.setattr(rg_lru_kernel, "_PROGRAMS", programs)
    problem, (fused, reference) = random_problem(*size), both(begin)
    exact = values_and_gradients(reference, [array.astype(jnp.float64) for array in problem])
    for ours, expected in zip(values_and_gradients(fused, problem), exact, strict=True):
        assert ours.dtype == jnp.float32
        assert oracles.relative_error(ours, expected) < TOLERANCE


@pytest.mark.usefixtures("x64", "short_chunks")
def test_decays_near_one_are_not_rounded(monkeypatch):
    """Where they are, the same small error at every step makes 1e-5 of 1024."""
    monkeypatch.setattr(rg_lru_kernel, "_PROGRAMS", 2)
    rng = np.random.default_rng(0)
    x, gate = 1 + rng.normal(size=(1, 1024, 4)), np.broadcast_to(rng.normal(size=4), (1, 1024, 4))
    arguments = [jnp.asarray(a, jnp.float32) for a in (x, gate, gate, np.full(4, -11.0))]
    fused, reference = (jax.jit(lambda *a, run=run: run(*a, None)[0]) for run in both("all"))
    exact = reference(*(array.astype(jnp.float64) for array in arguments))
    assert oracles.relative_error(fused(*arguments), exact) < LONG_MEMORY


@pytest.mark.thorough
@pytest.mark.usefixtures("short_chunks")
def test_activations_in_half_precision_keep_a_float32_state(monkeypatch):
    monkeypatch.setattr(rg_lru_kernel, "_PROGRAMS", 2)
    *sequences, a_param, h0 = random_problem(1, 24, 4)
    fused, reference = both("none")
    sequences = [array.astype(jnp.bfloat16) for array in sequences]
    half = values_and_gradients(fused, [*sequences, a_param, h0])
    assert [x.dtype for x in half[2:]] == [jnp.bfloat16] * 3 + [jnp.float32] * 2
    single = values_and_gradients(reference, [*(array.astype(jnp.float32) for array in sequences), a_param, h0])
    for ours, expected in zip(half, single, strict=True):
        assert oracles.relative_error(ours.astype(jnp.float32), expected) < BFLOAT16


@pytest.mark.parametrize(
    ("dtype", "length"), [(jnp.float32, 4096), pytest.param(jnp.bfloat16, 4001, marks=pytest.mark.thorough)]
)
def test_it_lowers_for_a_gpu(monkeypatch, dtype, length):
    monkeypatch.setattr(backends, "kernels_run", lambda: True)
    x, h0 = jax.ShapeDtypeStruct((2, length, 64), dtype), jax.ShapeDtypeStruct((2, 64), jnp.float32)

    def loss(x, gate_x, gate_a, a_param, h0):
        found = rg_lru(x, gate_x, gate_a, a_param, h0=h0, return_last_state=True)
        return sum(part.astype(jnp.float32).sum() for part in found)

    a_param = jax.ShapeDtypeStruct((64,), jnp.float32)
    text = lowered_for_a_gpu(jax.grad(loss, argnums=range(5)), x, x, x, a_param, h0)
    # Ends of segments and states, forward and backward.
    assert text.count("__gpu$xla.gpu.triton") == 4
