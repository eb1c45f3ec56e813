"""Makes sets of contours: a range of one, or a whole one in parts."""

import zlib
from pathlib import Path

import numpy as np

from ssm_bench.data import parts
from ssm_bench.data.work import Work
from ssm_bench.tasks._pathfinder.stamps import fingerprint, markers, stamps
from ssm_bench.tasks._pathfinder.variants import VARIANTS

#: The seed of the generated sets.
SEED = 0

#: Images of a part: seconds of work.
_PART = 250


def make(variant: str, numbers: range, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """The images of a range of numbers; each depends on variant, seed and its number alone.

    Args:
        variant: a name of VARIANTS.
        numbers: of the images, 0 or more, one after another.
        seed: of the set, 0 to 2**32 - 1.

    Returns:
        Gray levels (n, side, side) uint8, and what `search.FACTS` names, (n, len(FACTS)) int32.
    """
    # Compiled at the first import; no other module needs it.
    from ssm_bench.tasks._pathfinder import search

    chosen = VARIANTS[variant]
    key = np.uint64(search.mix(np.uint64(zlib.crc32(variant.encode()) << 32 | seed)))
    pixels = np.empty((len(numbers), chosen.resolution, chosen.resolution), np.uint8)
    facts = np.zeros((len(numbers), len(search.FACTS)), np.int32)
    margins = np.empty(len(numbers), np.int64)
    search.margin_indices(key, np.arange(numbers.start, numbers.stop), len(chosen.margins), margins)
    sizes = np.asarray([chosen.padding, chosen.contour_length, chosen.distractor_length, chosen.distractors])
    scales = np.asarray([chosen.target_contrast, chosen.contrast, 1.0])
    for i, margin in enumerate(chosen.margins):
        search.images(
            key,
            np.flatnonzero(margins == i),
            numbers.start,
            len(chosen.margins),
            stamps(chosen, margin),
            sizes,
            markers(chosen),
            chosen.marker_radius,
            scales,
            chosen.clean,
            pixels,
            facts,
        )
    return pixels, facts


def make_set(
    variant: str, count: int, folder: Path, work: Work, title: str, seed: int = SEED
) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` images of a set, made by threads in parts that stay in `folder` until it is removed.

    Returns:
        Gray levels of all images one after another, memory-mapped uint8, and labels (count,) int32.

    Raises:
        OSError: the folder cannot be written.
    """
    side = VARIANTS[variant].resolution

    def part(numbers: range) -> dict[str, np.ndarray]:
        pixels, facts = make(variant, numbers, seed)
        return {"values": pixels, "labels": facts[:, 0]}

    # Compiles, and makes the tables, before the threads begin.
    make(variant, range(0, 1), seed)
    shapes = {"values": ((count, side, side), np.uint8), "labels": ((count,), np.int32)}
    identity = f"{variant} seed {seed} tables {fingerprint(VARIANTS[variant])}"
    arrays = parts.fill(folder, identity, shapes, _PART, part, work, f"{title}: generating")
    return arrays["values"], np.array(arrays["labels"])
