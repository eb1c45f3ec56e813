"""Equal blocks as one loop: a program that holds one block, whatever the depth, and compiles in its time."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.network.scaffold import Scaffold


def alike(blocks: Sequence[Scaffold]) -> list[list[Scaffold]]:
    """Divides blocks into runs of consecutive ones that differ only in the values of their arrays."""

    def kind(block: Scaffold) -> Any:
        graph, state = nnx.split(block)
        leaves, structure = jax.tree.flatten(nnx.to_pure_dict(state))
        return graph, structure, [(leaf.shape, leaf.dtype) for leaf in leaves]

    return [list(run) for _, run in itertools.groupby(blocks, kind)]


def in_a_loop(
    blocks: Sequence[Scaffold],
    x: Float[Array, "b l h"],
    mask: Bool[Array, "b l"] | None,
    keys: Sequence[PRNGKeyArray | None],
    *,
    train: bool,
) -> Float[Array, "b l h"]:
    """The output of equal blocks one after another, by one `lax.scan` over their stacked arrays.

    Values, gradients and batch statistics are those of the unrolled blocks up to rounding; dropout is the same.

    Args:
        blocks: a run of `alike`. In training their batch statistics are updated.
        x: the residual stream (b, l, h).
        mask: (b, l) or None, as for a block.
        keys: the key of each block for dropout, or None for each.
        train: as for a block.
    """
    graph = nnx.graphdef(blocks[0])
    states = [tuple(nnx.to_pure_dict(part) for part in nnx.state(block, nnx.Param, ...)) for block in blocks]
    params, rest = jax.tree.map(lambda *arrays: jnp.stack(arrays), *states)
    stacked_keys = None if keys[0] is None else jnp.stack(keys)  # pyright: ignore[reportArgumentType]

    def one(x: Array, layer: Any) -> tuple[Array, Any]:
        params, rest, key = layer
        block = nnx.merge(graph, params, rest)
        x = block(x, mask, train=train, key=key)
        return x, nnx.to_pure_dict(nnx.state(block, nnx.Not(nnx.Param)))

    x, rest = jax.lax.scan(one, x, (params, rest, stacked_keys))
    if train:
        for i, block in enumerate(blocks):
            nnx.update(block, jax.tree.map(lambda array, i=i: array[i], rest))
    return x
