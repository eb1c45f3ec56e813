"""Kernels for NVIDIA GPUs, written in Pallas.

Pallas lowers them through Triton, a route that JAX has announced to remove; `kernels_run` says whether this JAX still
has it. Every operation that has a kernel has a reference beside it that runs everywhere.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def kernels_run() -> bool:
    """Whether this process can run the kernels: a GPU of NVIDIA, and a JAX that still lowers them."""
    if jax.default_backend() != "gpu" or "nvidia" not in jax.devices()[0].device_kind.lower():
        return False
    # Only here, since the import takes time.
    try:
        from jax.experimental.pallas import triton  # noqa: F401
    except ImportError:
        return False
    return True


def call(
    kernel: Callable[..., None],
    grid: tuple[int, ...],
    shapes: Sequence[tuple[int, ...] | jax.ShapeDtypeStruct],
    *,
    interpret: bool,
) -> Callable[..., Any]:
    """A function of arrays that runs a kernel, in one program of one warp for each point of the grid.

    Args:
        kernel: takes references to the inputs, then to the outputs, whole arrays all.
        grid: number of programs along each axis.
        shapes: of the outputs, float32 where no type stands with them.
        interpret: run without a GPU, slowly, for tests.
    """
    from jax.experimental import pallas as pl

    parameters = None
    if not interpret:
        from jax.experimental.pallas import triton

        parameters = triton.CompilerParams(num_warps=1, num_stages=1)
    outputs = [
        shape if isinstance(shape, jax.ShapeDtypeStruct) else jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in shapes
    ]
    return pl.pallas_call(kernel, grid=grid, out_shape=outputs, interpret=interpret, compiler_params=parameters)
