"""One run on several devices: each holds a copy of parameters and data, and every batch is divided among them."""

import logging
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from ssm_bench.config import divisors
from ssm_bench.errors import UserError
from ssm_bench.ops.sharding import AXIS


class Placement(NamedTuple):
    """The placement of the arrays of a run on devices.

    Attributes:
        mesh: the devices, along one axis.
        whole: a copy on every device: parameters, optimizer and data.
        batches: arrays (steps, batch), the batch divided among the devices.
    """

    mesh: Mesh
    whole: NamedSharding
    batches: NamedSharding

    @property
    def devices(self) -> int:
        """Number of devices."""
        return self.mesh.size

    def divided(self, batches: np.ndarray) -> np.ndarray | jax.Array:
        """Arrays (steps, batch) as an argument of a program that takes them as `batches`."""
        # With one process, a program moves its arguments itself.
        return batches if self.batches.is_fully_addressable else put(batches, self.batches)


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Copies a tree of arrays to devices; with several processes, each copies to its own devices.

    Args:
        tree: complete arrays, equal in every process.
        sharding: the target.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def one(array: Any) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])

    return jax.tree.map(one, tree)


def place(devices: int = 1) -> Placement:
    """The placement on the first devices, or on all devices of all processes of a run.

    Raises:
        UserError: there are fewer devices.
    """
    there = jax.devices()
    if devices > len(there):
        raise UserError(f"--devices must be at most {len(there)}, the number of available devices; got {devices}")
    if devices > 1 and there[0].platform == "gpu":
        logging.getLogger(__name__).warning(
            "models with Fourier transforms have hung on several GPUs (docs/training.md): if no step ends, use --jobs"
        )
    mesh = Mesh(np.array(there[:devices]), (AXIS,), axis_types=(AxisType.Auto,))
    return Placement(mesh, NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(None, AXIS)))


def check_batch(train: ConfigDict, devices: int) -> None:
    """Checks that the devices can share each batch evenly.

    Args:
        train: the section `train` of a configuration.
        devices: the number of devices.

    Raises:
        UserError: the batch, or a microbatch, cannot be divided evenly.
    """
    batch, what = train.batch_size // train.accumulate, "--config.train.batch_size"
    if train.accumulate > 1:
        what += " / --config.train.accumulate"
    if batch % devices:
        raise UserError(f"--devices must divide {what}, here {batch}: it can be {divisors(batch)}; got {devices}")
