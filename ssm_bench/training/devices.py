"""One run on several devices: each holds a copy of parameters and data, and a part of every batch or sequence.

With `train.divide=batch`, each device computes some examples of a batch. With `train.divide=time`, each computes a part
of every sequence: recurrences are divided by `ssm_bench.ops.sequence_parallel`, and the compiler divides the operations
on single positions between them in the same way.
"""

import logging
import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from ssm_bench.config import check_allowed, divisors
from ssm_bench.errors import SettingError, UserError
from ssm_bench.network.backbone import Classifier
from ssm_bench.ops.sharding import AXIS, SEQUENCE_AXIS
from ssm_bench.training.batches import UNIT

#: The values of settings with which the time axis can be divided evenly. Segments are read one after another.
WITH_TIME = {
    "train.segment": (0,),
    "model.pooling": ("mean", "last"),
    "model.context": (0,),
    "model.window": (0,),
}


class Placement(NamedTuple):
    """The placement of the arrays of a run on devices.

    Attributes:
        mesh: the devices, along one axis, AXIS or SEQUENCE_AXIS.
        whole: a copy on every device: parameters, optimizer and data.
        batches: arrays (steps, batch), the batch divided among the devices if the axis is AXIS.
    """

    mesh: Mesh
    whole: NamedSharding
    batches: NamedSharding

    @property
    def shares(self) -> int:
        """Number of parts that every batch is divided into."""
        return self.mesh.shape.get(AXIS, 1)

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


def place(devices: int = 1, divide: str = "batch") -> Placement:
    """The placement on the first devices, or on all devices of all processes of a run.

    Args:
        devices: number of devices.
        divide: the setting `train.divide`.

    Raises:
        UserError: there are fewer devices.
    """
    there = jax.devices()
    if devices > len(there):
        raise UserError(f"--devices must be at most {len(there)}, the number of available devices; got {devices}")
    if devices > 1 and divide == "batch" and there[0].platform == "gpu":
        logging.getLogger(__name__).warning(
            "models with Fourier transforms have hung on several GPUs (docs/training.md): if no step ends, use --jobs"
        )
    axis, batches = (SEQUENCE_AXIS, PartitionSpec()) if divide == "time" else (AXIS, PartitionSpec(None, AXIS))
    mesh = Mesh(np.array(there[:devices]), (axis,), axis_types=(AxisType.Auto,))
    return Placement(mesh, NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, batches))


def check_division(config: ConfigDict) -> None:
    """Checks that a configuration with `train.divide=time` has sequences that can be divided.

    Raises:
        SettingError: it does not; the sentence names the setting in the way and the values allowed.
    """
    if config.train.divide == "time":
        check_allowed(config, WITH_TIME, "train.divide is time")


def check_parts(model: Classifier, config: ConfigDict) -> None:
    """Checks that all parts of a model that relate positions can be divided along time, if that is divided.

    Raises:
        SettingError: names the kind of the first part that cannot.
    """
    if config.train.get("divide") != "time":
        return
    for part in (getattr(block, name) for block in model.blocks for name in block.temporal):
        # Parts of plug-ins may be older than this property.
        if not getattr(part, "divides_time", False):
            what = f"must be batch with {type(part).__name__}, which cannot be divided along time (docs/training.md)"
            raise SettingError("train.divide", f"{what}; got time")


def check_shares(config: ConfigDict, devices: int) -> None:
    """Checks that the devices can share each batch, or each sequence, evenly.

    Args:
        config: a configuration; lengths are checked once it is resolved by `open_data`.
        devices: the number of devices.

    Raises:
        UserError: the batch, a microbatch, or the sequences cannot be divided evenly.
    """
    train, length = config.train, config.task.max_length
    if train.divide == "time":
        common = length if train.lengths == 1 else math.gcd(length, UNIT)
        if length and common % devices:
            what = f"the length {length}" + ("" if train.lengths == 1 else f" and shorter ones, multiples of {UNIT},")
            can = f"it can be {divisors(common)}"
            raise UserError(f"--devices must divide {what} with --config.train.divide=time: {can}; got {devices}")
        return
    batch, what = train.batch_size // train.accumulate, "--config.train.batch_size"
    if train.accumulate > 1:
        what += " / --config.train.accumulate"
    if batch % devices:
        raise UserError(f"--devices must divide {what}, here {batch}: it can be {divisors(batch)}; got {devices}")
