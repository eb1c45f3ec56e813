"""Calls of kernels in Triton from JAX.

Triton compiles a kernel to PTX, and jaxlib assembles and launches that: it has a handler for XLA's foreign function
interface for this, the one that jax-triton uses. Nothing else of JAX is involved, so that one version of this module
works with every version of JAX and Triton that the tests name.
"""
# pyright: reportMissingImports=false

import zlib
from typing import Any

import jax
import triton
from jaxlib import gpu_triton
from triton.backends.compiler import GPUTarget

_TYPES = {"float32": "*fp32", "bfloat16": "*bf16"}


def triton_call(
    kernel: triton.JITFunction, grid: tuple[int, int, int], outputs: Any, *arrays: jax.Array, **constants: Any
) -> Any:
    """Runs a kernel in programs of one warp.

    Args:
        kernel: takes pointers to the arrays, then to the outputs, then constants.
        grid: number of programs along each axis.
        outputs: shape and type of the output, or a sequence of them.
        arrays: float32 or bfloat16.
        constants: the values of the kernel's parameters that are `tl.constexpr`, by name.

    Returns:
        The output, or a list of them. There is no gradient; under `jax.vmap` the calls run one after the other.
    """
    pointers = [*arrays, *jax.tree.leaves(outputs)]
    names = [name for name in kernel.arg_names if name not in constants]
    types = {name: _TYPES[array.dtype.name] for name, array in zip(names, pointers, strict=True)}
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    # XLA aligns arrays to 16 bytes at least.
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if name in types}
    capability = compute_capability()
    compiled = triton.compile(
        triton.compiler.ASTSource(kernel, signature, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 1},
    )
    name, shared = compiled.metadata.name, compiled.metadata.shared
    built = gpu_triton.TritonKernel(name, 1, 1, shared, compiled.asm["ptx"], "", capability)
    parameters = [gpu_triton.create_array_parameter(0, 16)] * len(pointers)
    message = gpu_triton.TritonKernelCall(built, *grid, parameters).to_proto(name, b"")
    call = jax.ffi.ffi_call("triton_kernel_call_ffi", outputs, vmap_method="sequential")
    return call(*arrays, name=name, opaque=zlib.compress(message))


def compute_capability() -> int:
    """That of the GPU, like 90 for 9.0."""
    return int(jax.devices()[0].compute_capability.replace(".", ""))
