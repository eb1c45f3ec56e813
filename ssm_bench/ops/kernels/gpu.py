"""Kernels for NVIDIA GPUs, written in Pallas.

Pallas lowers them through Triton, a route that JAX has announced to remove; `kernels_run` says whether this JAX still
has it. Every operation that has a kernel has a reference next to it that runs everywhere.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LOG2_E = float(np.log2(np.e))

# Whether the kernel that is being traced may use instructions of the GPU.
_INSTRUCTIONS = ContextVar("_INSTRUCTIONS", default=False)


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
    shapes: Any,
    *,
    interpret: bool,
    warps: int = 1,
    begun: Any = None,
) -> Callable[..., Any]:
    """A function of arrays that runs a kernel, in one program for each point of the grid.

    Args:
        kernel: takes references to the inputs, then to the outputs, whole arrays all, in lists where they are given so.
        grid: number of programs along each axis.
        shapes: a list of the outputs' shapes or of lists of them, float32 where no type stands with them.
        interpret: run without a GPU, slowly, for tests.
        warps: groups of 32 threads that share a program.
        begun: outputs that hold these arrays at first and take their place in memory, by name; shapes are then those of
            the other outputs, by name too.
    """
    from jax.experimental import pallas as pl

    parameters = None
    if not interpret:
        from jax.experimental.pallas import triton

        parameters = triton.CompilerParams(num_warps=warps, num_stages=1)
    outputs = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32) if isinstance(shape, tuple) else shape,
        shapes,
        is_leaf=lambda shape: isinstance(shape, tuple),
    )

    begun = begun or {}
    held = len(jax.tree.leaves(begun))
    if begun:
        outputs |= jax.eval_shape(lambda: begun)
    places = jax.tree.unflatten(jax.tree.structure(outputs), range(len(jax.tree.leaves(outputs))))
    owned = jax.tree.leaves({name: places[name] for name in begun})

    def run(*arrays):
        first = len(jax.tree.leaves(arrays))
        token = _INSTRUCTIONS.set(not interpret)
        try:
            return pl.pallas_call(
                # The kernel sees what is begun as an output alone.
                (lambda *refs: kernel(*refs[: len(arrays)], refs[-1])) if begun else kernel,
                grid=grid,
                out_shape=outputs,
                input_output_aliases=dict(zip(range(first, first + held), owned, strict=True)),
                interpret=interpret,
                compiler_params=parameters,
            )(*arrays, *([begun] if begun else []))
        finally:
            _INSTRUCTIONS.reset(token)

    return run


def barrier() -> None:
    """The warps of a program wait for each other, and see what the others have written."""
    if _INSTRUCTIONS.get():
        from jax.experimental.pallas import triton

        triton.debug_barrier()


def store(ref: Any, place: Any, value: jax.Array, mask: jax.Array) -> None:
    """`ref[place] = value` in a kernel where `mask` holds."""
    from jax.experimental.pallas import triton

    triton.store(ref.at[place], value, mask=mask)


def opaque(index: jax.Array) -> jax.Array:
    """The same int32 numbers, of which the compiler does not know that they follow each other.

    Else it lays out among the threads what is read there in the order of the addresses, and moves it afterwards.
    """
    return _instruction("mov.b32 $0, $1;", index, kind="r") if _INSTRUCTIONS.get() else index


def multiply_add(x: jax.Array, y: jax.Array, z: jax.Array | float) -> jax.Array:
    """x y + z in a kernel, float32, as the one instruction that a GPU has for it; by itself it would take two."""
    if not _INSTRUCTIONS.get():
        return x * y + z
    shape = jnp.broadcast_shapes(x.shape, y.shape, jnp.shape(z))
    return _instruction("fma.rn.f32 $0, $1, $2, $3;", *(jnp.broadcast_to(a, shape) for a in (x, y, z)))


def exp2(x: jax.Array) -> jax.Array:
    """2^x in a kernel, float32, to 2 units in the last place; results below the normal numbers (1e-38) are zero."""
    return _instruction("ex2.approx.ftz.f32 $0, $1;", x) if _INSTRUCTIONS.get() else jnp.exp2(x)


def reciprocal(x: jax.Array) -> jax.Array:
    """1 / x in a kernel, float32, to 1 unit in the last place."""
    return _instruction("rcp.approx.ftz.f32 $0, $1;", x) if _INSTRUCTIONS.get() else 1 / x


def sigmoid(x: jax.Array) -> jax.Array:
    """1 / (1 + e^-x) in a kernel, float32; results below the normal numbers (1e-38) are zero."""
    return reciprocal(1 + exp2(-LOG2_E * x))


def _instruction(instruction: str, *arrays: jax.Array, kind: str = "f") -> jax.Array:
    from jax.experimental.pallas import triton

    constraints = ",".join([f"={kind}"] + [kind] * len(arrays))
    shape = jax.ShapeDtypeStruct(arrays[0].shape, arrays[0].dtype)
    return triton.elementwise_inline_asm(
        instruction, args=arrays, constraints=constraints, pack=1, result_shape_dtypes=[shape]
    )[0]
