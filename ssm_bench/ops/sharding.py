"""Batches and sequences on several devices: each computes what the compiler cannot partition on its own part."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import jax
from jax.sharding import Mesh, PartitionSpec

#: The axis of the mesh that batches are divided along; no name that a mesh of somebody else would have.
AXIS = "ssm_bench_batch"

#: The axis of the mesh that sequences are divided along.
SEQUENCE_AXIS = "ssm_bench_sequence"


@contextmanager
def divided(mesh: Mesh) -> Iterator[None]:
    """Inside, while a program is traced, batches and sequences are divided among the devices of a mesh.

    Args:
        mesh: with the axis AXIS, along which batches are divided, the axis SEQUENCE_AXIS, along which sequences are, or
            both; its axis types are Auto.
    """
    with nullcontext() if mesh.size == 1 else jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        yield


def per_device(function: Callable[..., Any], batched: Sequence[bool], *, axis: int = 0) -> Callable[..., Any]:
    """The function, applied by each device to its own part of the batch; unchanged where the batch is not divided.

    The compiler can partition neither a kernel nor a Fourier transform: every device would compute all of it.

    Args:
        function: of arrays; no example of a batch may depend on another.
        batched: which of its arguments have the batch as first axis; the others are whole on every device, and their
            gradients are added up.
        axis: where its results have the batch.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if AXIS not in mesh.axis_names or AXIS in mesh.manual_axes:
        return function
    whole = PartitionSpec()
    arguments = tuple(PartitionSpec(AXIS) if one else whole for one in batched)
    results = PartitionSpec(*[None] * axis, AXIS)
    return jax.shard_map(function, mesh=mesh, in_specs=arguments, out_specs=results, check_vma=False)


def sequence_devices() -> int:
    """Among how many devices sequences are divided here; 1: they are not."""
    mesh = jax.sharding.get_abstract_mesh()
    divided_here = SEQUENCE_AXIS in mesh.axis_names and SEQUENCE_AXIS not in mesh.manual_axes
    return mesh.shape[SEQUENCE_AXIS] if divided_here else 1
