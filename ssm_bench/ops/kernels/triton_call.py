"""Calls of kernels in Triton from JAX.

Triton compiles a kernel to PTX. jaxlib assembles and launches it with a handler of XLA's foreign function interface,
which jax-triton uses as well. jax-triton also depends on internals of JAX that change between versions; this module
works with JAX 0.10.2, 0.11.2 and 0.12.0.1, and with Triton 3.6.0 and 3.9.0.
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
        # Triton 3.10 will no longer fuse products with sums unless this asks for it.
        options={"num_warps": 1, "enable_fp_fusion": True},
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
