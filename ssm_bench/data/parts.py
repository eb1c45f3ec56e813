"""Arrays that take long to make: written part by part, so that an interrupted run continues where it stopped."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ssm_bench.data.work import Work


def fill(
    folder: Path,
    identity: str,
    shapes: dict[str, tuple[tuple[int, ...], type]],
    size: int,
    make: Callable[[range], dict[str, np.ndarray]],
    work: Work,
    description: str,
) -> dict[str, np.ndarray]:
    """Makes arrays of many rows in parts, by threads, and keeps every finished part on the disk.

    Args:
        folder: holds the arrays and the list of finished parts; what another identity left there is removed.
        identity: decides, with the shapes and the size of a part, what every part holds.
        shapes: shape, rows first, and type of each array; all have the same number of rows.
        size: rows of a part.
        make: gives the rows of a range of each array; it must not hold Python's lock.
        work: the number of workers does not change the result.
        description: for the progress bar.

    Returns:
        The arrays, flat and memory-mapped.

    Raises:
        OSError: the folder cannot be written.
    """
    rows = next(iter(shapes.values()))[0][0]
    plan = json.dumps([identity, {n: [s, np.dtype(t).str] for n, (s, t) in shapes.items()}, size]) + "\n"
    done = folder / "done.txt"
    if not done.is_file() or not done.read_text("utf-8").startswith(plan):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, (shape, dtype) in shapes.items():
            np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.dtype(dtype), (int(np.prod(shape)),))
        done.write_text(plan, "utf-8")
    # A line that was not written to its end does not count.
    text = done.read_text("utf-8")
    text = text[: text.rindex("\n") + 1]
    done.write_text(text, "utf-8")
    finished = {int(line) for line in text.splitlines()[1:]}
    parts = [range(i, min(i + size, rows)) for i in range(0, rows, size)]
    left = [part for part in parts if part.start not in finished]
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in shapes}
    if finished:
        work.say(f"{description}: {len(finished):,} of {len(parts):,} parts are there already")
    with work.bar(description, sum(map(len, left))) as advance, done.open("a", encoding="utf-8") as log:
        for part, made in zip(left, work.map_threads(make, left), strict=True):
            for name, array in made.items():
                with (folder / f"{name}.npy").open("r+b") as file:
                    file.seek(arrays[name].offset + part.start * array[0].nbytes)
                    file.write(np.ascontiguousarray(array).data)
            # Only what is written counts as finished.
            log.write(f"{part.start}\n")
            log.flush()
            advance(len(part))
    return arrays
