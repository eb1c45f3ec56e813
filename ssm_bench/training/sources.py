"""Sources of batches: all examples on the device, or the examples of one call at a time, read from the host."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from ssm_bench.data import Dataset
from ssm_bench.training.devices import Placement, put
from ssm_bench.training.memory import device_memory

DeviceData = dict[str, jax.Array]

#: Largest share of the device memory for data, unless `train.data_on` is "device".
RESIDENT_SHARE = 0.25


class Resident:
    """All examples on every device; programs gather the batches there."""

    streams = False

    def __init__(self, dataset: Dataset, placement: Placement):
        """Copies the data set to every device."""
        numbers = np.arange(len(dataset.labels))
        arrays = _arrays(*dataset.padded(), dataset.documents, dataset.labels, numbers)
        self.data = put(arrays, placement.whole)
        self.length = dataset.spec.max_length
        self._placement = placement

    def take(self, examples: np.ndarray, ahead: np.ndarray | None = None) -> tuple[DeviceData, Any]:
        """The data on the device, and the indices of these examples in it."""
        return self.data, self._placement.divided(examples)

    def like(self, examples: np.ndarray) -> tuple[Any, jax.ShapeDtypeStruct]:
        """The result of `take`, or arrays of the same shapes and types without values."""
        return self.data, jax.ShapeDtypeStruct(examples.shape, examples.dtype)


class Streamed:
    """The examples of one call at a time on every device; all others stay on the host, memory-mapped.

    Programs are the same as for `Resident`: they receive a small data set that contains only their batches, and
    indices into it.
    """

    streams = True

    def __init__(self, dataset: Dataset, placement: Placement):
        """Does not read data yet."""
        self.dataset = dataset
        self.length = dataset.spec.max_length
        self._placement = placement
        self._thread = ThreadPoolExecutor(1, "batches")
        self._ahead: tuple[np.ndarray, Future[DeviceData]] | None = None

    def take(self, examples: np.ndarray, ahead: np.ndarray | None = None) -> tuple[DeviceData, Any]:
        """The data of a call on the device, and the indices of its examples in them.

        Args:
            examples: indices of the examples of all batches of the call, an array of any shape.
            ahead: examples of the expected next call, which a thread reads in advance; a different call may follow.
        """
        if self._ahead and np.array_equal(self._ahead[0], examples):
            data, self._ahead = self._ahead[1].result(), None
        else:
            data = self._load(examples)
        if ahead is not None:
            self._ahead = ahead, self._thread.submit(self._load, ahead)
        return data, self._placement.divided(_renumbered(examples))

    def like(self, examples: np.ndarray) -> tuple[Any, jax.ShapeDtypeStruct]:
        """The result of `take`, with shapes and types instead of data."""
        documents = examples.size * self.dataset.documents.shape[1]
        shapes = {
            "tokens": ((documents, self.length), self.dataset.values.dtype),
            "lengths": ((documents,), np.int32),
            "documents": ((examples.size, self.dataset.documents.shape[1]), np.int32),
            "labels": ((examples.size,), np.int32),
            "numbers": ((examples.size,), np.int32),
        }
        structs = {name: jax.ShapeDtypeStruct(*one) for name, one in shapes.items()}
        return structs, jax.ShapeDtypeStruct(examples.shape, np.int32)

    def _load(self, examples: np.ndarray) -> DeviceData:
        numbers = examples.ravel()
        documents, labels = self.dataset.documents[numbers], self.dataset.labels[numbers]
        arrays = _arrays(*self.dataset.padded(documents.ravel()), _renumbered(documents), labels, numbers)
        return put(arrays, self._placement.whole)


Source = Resident | Streamed


def source_of(dataset: Dataset, placement: Placement, data_on: str) -> Source:
    """The source of a run.

    Args:
        dataset: its data.
        placement: its devices.
        data_on: the setting `train.data_on`.
    """
    if data_on == "auto":
        needed = (len(dataset.offsets) - 1) * dataset.spec.max_length * dataset.values.itemsize
        data_on = "host" if needed > RESIDENT_SHARE * device_memory() else "device"
    return (Streamed if data_on == "host" else Resident)(dataset, placement)


def _arrays(
    tokens: np.ndarray, lengths: np.ndarray, documents: np.ndarray, labels: np.ndarray, numbers: np.ndarray
) -> dict[str, np.ndarray]:
    """The arrays of a data set, or of a part of it, that programs read.

    Args:
        tokens: (documents, l) uint8 or uint16.
        lengths: (documents,).
        documents: (examples, 1 or 2), indices of the documents of each example.
        labels: (examples,).
        numbers: (examples,), the indices of the examples in the whole data set.
    """
    return {
        "tokens": tokens,
        "lengths": lengths,
        "documents": np.asarray(documents, np.int32),
        "labels": np.asarray(labels, np.int32),
        "numbers": np.asarray(numbers, np.int32),
    }


def _renumbered(array: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... in the shape of an array."""
    return np.arange(array.size, dtype=np.int32).reshape(array.shape)
