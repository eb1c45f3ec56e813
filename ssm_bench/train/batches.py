"""Batches: the data on the device, and the order in which training sees it."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np

DeviceData = dict[str, jax.Array]


def device_data(dataset: Any) -> DeviceData:
    """Copies a data set to the device once: integer documents, lengths, examples and labels.

    Returns:
        tokens (documents, l) uint8 or uint16, lengths (documents,), documents (examples, 1 or 2), labels.
    """
    tokens, lengths = dataset.padded()
    arrays = {
        "tokens": tokens,
        "lengths": lengths,
        "documents": np.asarray(dataset.documents, np.int32),
        "labels": np.asarray(dataset.labels, np.int32),
    }
    return jax.device_put(arrays)


# An epoch is many calls of the device: its order is drawn once for all of them.
@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` training examples in one epoch: a function of (seed, epoch) and of nothing else."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    order.flags.writeable = False
    return order


def training_batches(examples: np.ndarray, batch: int, seed: int, step: int, count: int) -> np.ndarray:
    """The examples of training steps step, step + 1, ...: (count, batch) int32.

    An epoch drops the examples that do not fill a batch; another epoch drops others.
    """
    per_epoch = len(examples) // batch
    rows = []
    while count:
        epoch, position = divmod(step, per_epoch)
        taken = min(count, per_epoch - position)
        order = epoch_order(len(examples), seed, epoch)
        rows.append(examples[order[position * batch : (position + taken) * batch]].reshape(taken, batch))
        step, count = step + taken, count - taken
    return np.concatenate(rows).astype(np.int32)


def evaluation_batches(examples: np.ndarray, batch: int, group: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Every example once, in groups of batches of one shape, so that every split runs the same compiled program.

    Returns:
        Indices (groups, group, batch) int32, and weights of that shape, 0 where the last group is filled up.
    """
    count = -(-len(examples) // (batch * group))
    padded = np.full(count * group * batch, examples[0], np.int32)
    padded[: len(examples)] = examples
    weights = (np.arange(len(padded)) < len(examples)).astype(np.float32)
    return padded.reshape(count, group, batch), weights.reshape(count, group, batch)
