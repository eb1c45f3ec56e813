"""The kernels of `diagonal_scan` through Pallas for Mosaic GPU: a prototype.

They are the same kernels. A program is 128 threads wide here, with one state a thread, so the states must be a multiple
of 128. JAX 0.11 makes other semantics the default, in which these kernels take many times as long to lower.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas import mosaic_gpu as plgpu

from ssm_bench.ops.kernels.diagonal_scan import StatesWalk, fused_states, pallas_solver
from ssm_bench.ops.kernels.walk import Parts

WIDTH = 128
_AXES = ("segments", "channels", "direction")


def mosaic_states(v: jax.Array, log_a: jax.Array, directions: int, *, interpret: Any = None) -> jax.Array:
    """`fused_states` through Mosaic GPU; `interpret` is JAX's InterpretGPUParams.

    Raises:
        ValueError: another number of states than a multiple of 128.
    """
    solver = pallas_solver(partial(_call, interpret=interpret), _width_of, _Walk)
    return fused_states(v, log_a, directions, solver=solver)


def _width_of(states: int) -> int:
    if states % WIDTH:
        raise ValueError(f"Mosaic GPU needs a multiple of {WIDTH} states; got {states}")
    return WIDTH


class _Walk(StatesWalk):
    @staticmethod
    def program_id(axis: int) -> jax.Array:
        return lax.axis_index(_AXES[axis])

    def zero(self) -> Parts:
        # The carry of a loop must have the layout that it gets in the loop.
        layout = plgpu.Layout.WG_STRIDED(shape=(WIDTH,), vec_size=1)
        return [plgpu.layout_cast(part, layout) for part in super().zero()]


def _call(kernel: Callable[..., None], grid: tuple[int, ...], shapes: Any, *, interpret: Any) -> Callable[..., Any]:
    """Like `gpu.call`."""
    outputs = [jax.ShapeDtypeStruct(s, jnp.float32) if isinstance(s, tuple) else s for s in shapes]

    def run(*arrays):
        leaves, tree = jax.tree.flatten(arrays)

        def body(*references):
            kernel(*tree.unflatten(references[: len(leaves)]), *references[len(leaves) :])

        return plgpu.kernel(
            body,
            out_type=outputs,
            grid=grid,
            grid_names=_AXES,
            compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Lane),
            interpret=interpret,
        )(*leaves)

    return run
