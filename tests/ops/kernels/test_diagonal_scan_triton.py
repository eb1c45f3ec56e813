"""The kernels in Triton, in its interpreter, against float64; and that they compile for three generations of GPUs."""
# pyright: reportMissingImports=false

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import diagonal

from .. import oracles
from ..lowering import lowered_for_a_gpu
from .test_diagonal_scan import BFLOAT16, TOLERANCE, in_float64, random_system, values_and_gradients

triton = pytest.importorskip("triton")

from triton.runtime import interpreter as triton_interpreter  # noqa: E402

from ssm_bench.ops.kernels import diagonal_scan_triton as kernels  # noqa: E402
from ssm_bench.ops.kernels import triton_call  # noqa: E402

JIT_FUNCTIONS = inspect.getmembers(kernels, lambda value: isinstance(value, triton.JITFunction))


class Memory:
    """An array as the interpreter wants it: like a tensor of PyTorch in the memory of the CPU."""

    def __init__(self, array):
        self.array, self.dtype = array, {"bfloat16": "bf16"}.get(array.dtype.name, "fp32")

    def data_ptr(self):
        return self.array.ctypes.data

    def untyped_storage(self, *_, **__):
        return self

    cpu = new_empty = untyped_storage

    def set_(self, *_):
        pass

    storage_offset = size = stride = copy_ = set_


def interpreted(kernel, grid, outputs, *arrays, **constants):
    """What `triton_call` gives, from the interpreter; outputs are NaN before."""
    shapes, tree = jax.tree.flatten(outputs)

    def run(*arrays):
        results = [np.full(shape.shape, np.nan, shape.dtype) for shape in shapes]
        memory = [Memory(np.array(array)) for array in arrays] + [Memory(result) for result in results]
        kernel[grid](*memory, **constants)
        return results

    return tree.unflatten(jax.pure_callback(run, shapes, *arrays))


@pytest.fixture
def interpreter(monkeypatch):
    for name, function in JIT_FUNCTIONS:
        monkeypatch.setattr(kernels, name, triton_interpreter.InterpretedFunction(function.fn))
    patch = triton_interpreter._patch_lang_tensor

    def patch_for_new_numpy(tensor, scope):
        """Triton 3.6 converts arrays of one element to int, which NumPy 2.4 no longer does."""
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    monkeypatch.setattr(triton_interpreter, "_patch_lang_tensor", patch_for_new_numpy)
    monkeypatch.setattr(kernels, "triton_call", interpreted)
    monkeypatch.setattr("ssm_bench.ops.kernels.walk.CHUNK", 4)


@pytest.mark.parametrize(
    ("size", "programs"),
    # As for the kernel in Pallas.
    [((2, 8, 3, 8, 2, 0.9), 1), ((1, 29, 3, 12, 2, 0.9), 64), ((1, 128, 4, 3, 1, 0.9999), 4096)],
)
@pytest.mark.usefixtures("interpreter")
def test_values_and_gradients(monkeypatch, size, programs):
    monkeypatch.setattr(kernels, "PROGRAMS", programs)
    system = random_system(*size)
    found = values_and_gradients(partial(diagonal.with_states, kernels.triton_states), *system)
    for ours, expected in zip(found, in_float64(system), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.usefixtures("interpreter")
def test_activations_in_half_precision_keep_a_float32_state():
    u, *system = random_system(1, 64, 4, 4, 2, 0.9999)
    run = partial(diagonal.with_states, kernels.triton_states)
    half = values_and_gradients(run, u.astype(jnp.bfloat16), *system)
    assert half[1].dtype == jnp.bfloat16
    for ours, expected in zip(half, in_float64((u, *system)), strict=True):
        assert oracles.relative_error(np.asarray(ours, expected.dtype), expected) < BFLOAT16


@pytest.mark.parametrize("capability", [80, 90, 100, 120])
def test_it_compiles_for_a_gpu(monkeypatch, capability):
    pytest.importorskip("jax_cuda13_plugin")
    monkeypatch.setattr(triton_call, "compute_capability", lambda: capability)

    def run(v, log_a):
        return kernels.triton_states(v, log_a, 2).astype(jnp.float32).sum()

    v, log_a = jax.ShapeDtypeStruct((2, 4096, 96), jnp.bfloat16), jax.ShapeDtypeStruct((48,), jnp.complex64)
    text = lowered_for_a_gpu(jax.grad(run, argnums=(0, 1)), v, log_a)
    # Ends of segments and states, forward and backward, the latter for each direction.
    assert text.count("@triton_kernel_call_ffi") == 5
