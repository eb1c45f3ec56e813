"""Batches: the order of examples in training, and the groups in which splits are scored."""

import numpy as np

#: Number of batches whose examples are sorted by length together. More would reduce padding by a few percent, but
#: would mix lengths less.
WINDOW = 32

#: Padded lengths are multiples of this, which the chunks of scans and the tiles of matrix products divide. Twice such a
#: length is often a power of two or little less, which convolutions are padded to on GPUs.
UNIT = 256


def padded_lengths(lengths: np.ndarray, count: int) -> tuple[int, ...]:
    """The padded lengths, increasing multiples of UNIT, that minimize padding.

    Args:
        lengths: the lengths of all examples.
        count: the largest number of padded lengths, at least 1.
    """
    sizes = UNIT * np.arange(1, -(-int(lengths.max()) // UNIT) + 1)
    fitting = np.searchsorted(np.sort(lengths), sizes, side="right")
    # For every size: the least positions that hold all examples fitting into it, and the lengths chosen for that.
    positions, chosen = fitting * sizes, [(int(size),) for size in sizes]
    for _ in range(min(count, len(sizes)) - 1):
        longer = positions[:, None] + (fitting - fitting[:, None]) * sizes
        longer = np.where(np.tri(len(sizes), dtype=bool), fitting * sizes, longer)
        before = longer.argmin(0)
        chosen = [(*chosen[i], int(sizes[j])) if i < j else (int(sizes[j]),) for j, i in enumerate(before)]
        positions = longer.min(0)
    return chosen[-1]


class TrainingOrder:
    """The examples of every training step, which depend only on the seed and the step.

    With several padded lengths, batches contain examples of similar length: each window of WINDOW batches of the
    shuffled epoch is sorted by length, and its batches are then shuffled.
    """

    def __init__(self, examples: np.ndarray, lengths: np.ndarray, *, batch: int, seed: int, padded: tuple[int, ...]):
        """Takes the examples of the split, the length of every example of the data set, and `padded_lengths`."""
        self.examples = examples
        self.lengths = lengths[examples]
        self.batch = batch
        self.seed = seed
        self.padded = padded
        # An epoch is many calls of the device: its order is drawn once for all of them.
        self._epochs: dict[int, np.ndarray] = {}

    def batches(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The steps step, step + 1, ...

        Returns:
            Examples (count, batch) int32, and the index of the padded length of each step, (count,) int32. Each epoch
            drops the examples that do not fill a batch, and each epoch drops different ones.
        """
        per_epoch = len(self.examples) // self.batch
        rows = []
        while count:
            epoch, position = divmod(step, per_epoch)
            taken = min(count, per_epoch - position)
            rows.append(self.epoch(epoch)[position : position + taken])
            step, count = step + taken, count - taken
        places = np.concatenate(rows)
        longest = self.lengths[places].max(1)
        return self.examples[places].astype(np.int32), np.searchsorted(self.padded, longest).astype(np.int32)

    def epoch(self, epoch: int) -> np.ndarray:
        """All batches of an epoch, as places in the split: (steps, batch)."""
        if epoch not in self._epochs:
            self._epochs = {epoch: self._draw(epoch)}
        return self._epochs[epoch]

    def _draw(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.examples))
        batches = order[: len(order) // self.batch * self.batch].reshape(-1, self.batch)
        if len(self.padded) == 1:
            return batches
        windows = []
        for window in np.split(batches, range(WINDOW, len(batches), WINDOW)):
            places = window.ravel()
            similar = places[np.argsort(self.lengths[places], kind="stable")].reshape(window.shape)
            windows.append(random.permutation(similar))
        return np.concatenate(windows)


def evaluation_batches(
    examples: np.ndarray, lengths: np.ndarray, batch: int, padded: tuple[int, ...], group: int = 1
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Every example once, in groups of batches of one shape, so that few programs serve every split.

    Args:
        examples: indices of the examples of the split.
        lengths: the length of every example of the data set.
        batch: examples per batch.
        padded: increasing lengths that a group can be padded to; with more than one, examples are sorted by length.
        group: batches per group.

    Returns:
        For each group: indices (group, batch) int32; weights of that shape, 0 where the last group is filled up; and
        its padded length.
    """
    if len(padded) > 1:
        examples = examples[np.argsort(lengths[examples], kind="stable")]
    count = -(-len(examples) // (batch * group))
    filled = np.full(count * group * batch, examples[0], np.int32)
    filled[: len(examples)] = examples
    weights = (np.arange(len(filled)) < len(examples)).astype(np.float32)
    groups = filled.reshape(count, group, batch)
    sizes = np.searchsorted(padded, lengths[groups].max((1, 2)))
    return [(g, w, padded[int(n)]) for g, w, n in zip(groups, weights.reshape(groups.shape), sizes, strict=True)]
