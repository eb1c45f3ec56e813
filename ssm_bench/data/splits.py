"""Seeded ways to divide examples; they depend on nothing but the counts and the seed."""

import hashlib
from collections.abc import Iterable

import numpy as np

#: The seed of every held-out split, as in the S4 and S5 code.
SPLIT_SEED = 42


def permutation(count: int, seed: int = SPLIT_SEED) -> np.ndarray:
    """The order in which PyTorch's `randperm` puts `count` items on a CPU under `seed`, without PyTorch.

    S4 and S5 cut their validation sets with `random_split` under seed 42, so this order gives the very same
    examples: a Fisher-Yates shuffle from the front, each draw a 32-bit word of the Mersenne Twister.

    Args:
        count: number of items, below 2**32 / 20 (PyTorch draws 64-bit words above).
        seed: 0 to 2**32 - 1.

    Returns:
        (count,) int64, each of 0..count-1 once.
    """
    words = np.random.RandomState(seed).randint(0, 2**32, size=count, dtype=np.uint32)
    swaps = (words % np.arange(count, 0, -1, dtype=np.uint32)).tolist()
    order = list(range(count))
    for i, offset in enumerate(swaps):
        order[i], order[i + offset] = order[i + offset], order[i]
    return np.asarray(order, np.int64)


def tfds_order(keys: Iterable[object], split: str) -> np.ndarray:
    """The order in which TensorFlow Datasets stores examples, from which LRA's own pipelines cut their splits.

    It shuffles by the MD5 digest of the name of the split and the key that the builder gave the example; records and
    slices come in the order of the digests.

    Args:
        keys: of the examples, numbers or text, as the builder has them.
        split: "train", for example.

    Returns:
        (n,) int64: which example comes first, second, ...
    """
    digests = [hashlib.md5(f"{split}{key}".encode(), usedforsecurity=False).digest() for key in keys]
    return np.asarray(sorted(range(len(digests)), key=digests.__getitem__), np.int64)


def held_out(examples: np.ndarray, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Deals a seeded shuffle of `examples` out to named splits, each sorted.

    Args:
        examples: (n,) indices.
        sizes: how many each split gets, in order of dealing; the sum must be n.
    """
    shuffled = examples[permutation(len(examples))]
    ends = np.cumsum(list(sizes.values()))
    return {name: np.sort(part) for name, part in zip(sizes, np.split(shuffled, ends[:-1]), strict=True)}


def subset(examples: np.ndarray, at_most: int) -> np.ndarray:
    """A seeded choice of at most `at_most` of `examples`, sorted; the same choice for equal lengths."""
    if len(examples) <= at_most:
        return examples
    return np.sort(examples[permutation(len(examples))[:at_most]])
