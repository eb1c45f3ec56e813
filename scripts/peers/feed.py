"""Our prepared arrays, batch by batch, for the authors' training steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ssm_bench.data import Dataset


@dataclass(frozen=True)
class Batch:
    """Examples as the authors' data loaders deliver them.

    Attributes:
        inputs: (rows, l) int32 tokens, padded with 0, or (rows, l, 1) float32 pixels, standardized. A pair of documents
            has two rows: first those of all first documents, then those of all second ones.
        labels: (b,) int32.
        lengths: (rows,) int32 documents' lengths; None for pixels.
    """

    inputs: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray | None


class Feed:
    """Batches of one data set; the order is a function of the seed and the step, so that a run can resume anywhere.

    Args:
        dataset: the data, with its splits.
        batch_size: examples in a batch.
        seed: of the order.
        to_longest: pad each batch to its longest document; otherwise to the longest of the task.

    Raises:
        ValueError: the training set is smaller than a batch.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, *, to_longest: bool = False):
        self.dataset, self.batch_size, self.seed, self.to_longest = dataset, batch_size, seed, to_longest
        #: Steps in an epoch; the incomplete last batch is dropped, as in the authors' loaders.
        self.epoch_steps = len(dataset.splits["train"]) // batch_size
        if self.epoch_steps == 0:
            raise ValueError(f"batch_size {batch_size} exceeds the {len(dataset.splits['train'])} training examples")
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    @cached_property
    def _padded(self) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset.padded()

    def training(self, first: int, count: int) -> Iterator[Batch]:
        """The batches of the training steps first, ..., first + count - 1."""
        for step in range(first, first + count):
            epoch, at = divmod(step, self.epoch_steps)
            if self._order[0] != epoch:
                shuffled = np.random.default_rng((self.seed, epoch)).permutation(self.dataset.splits["train"])
                self._order = epoch, shuffled
            yield self._batch(self._order[1][at * self.batch_size : (at + 1) * self.batch_size])

    def split(self, name: str) -> Iterator[Batch]:
        """All examples of "validation" or "test", in order; the last batch may be smaller."""
        examples = self.dataset.splits[name]
        for start in range(0, len(examples), self.batch_size):
            yield self._batch(examples[start : start + self.batch_size])

    def _batch(self, examples: np.ndarray) -> Batch:
        tokens, lengths = self._padded
        documents = self.dataset.documents[examples].T.ravel()
        labels = np.asarray(self.dataset.labels[examples], np.int32)
        if self.dataset.spec.kind == "pixels":
            pixels = tokens[documents].astype(np.float32)
            pixels = (pixels - self.dataset.pixel_mean) / self.dataset.pixel_std
            return Batch(pixels[..., None].astype(np.float32), labels, None)
        rows = lengths[documents]
        stop = int(rows.max()) if self.to_longest else tokens.shape[1]
        return Batch(tokens[documents, :stop].astype(np.int32), labels, rows)
