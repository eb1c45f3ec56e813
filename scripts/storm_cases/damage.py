"""Damages files in named ways: `damage(folder, "flip", seed)`, for `scripts/storm.py` and for tests."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rng = np.random.Generator


def _flip(path: Path, rng: Rng) -> None:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def _flip_mapped(path: Path, rng: Rng) -> None:
    content = np.memmap(path, np.uint8, "r+")
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    content.flush()


def _flip_and_restore_the_time(path: Path, rng: Rng) -> None:
    found = path.stat()
    _flip(path, rng)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _cut(path: Path, rng: Rng) -> None:
    with path.open("r+b") as file:
        file.truncate(int(rng.integers(path.stat().st_size)))


def _append(path: Path, rng: Rng) -> None:
    with path.open("ab") as file:
        file.write(rng.bytes(int(rng.integers(1, 100))))


def _noise(path: Path, rng: Rng) -> None:
    path.write_bytes(rng.bytes(path.stat().st_size))


def _zeros(path: Path, rng: Rng) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _zero_block(path: Path, rng: Rng) -> None:
    size = path.stat().st_size
    begin = int(rng.integers(size))
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(min(4096, size - begin)))


def _ones(path: Path, rng: Rng) -> None:
    if path.suffix != ".npy":
        return _zeros(path, rng)
    array = np.load(path)
    array[...] = 1
    np.save(path, array)


def _remove(path: Path, rng: Rng) -> None:
    path.unlink()


def _folder(path: Path, rng: Rng) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, rng: Rng) -> None:
    path.unlink()
    os.mkfifo(path)


def _json(path: Path, rng: Rng) -> None:
    path.write_text(json.dumps([[], {}, None, 7, "text"][rng.integers(5)]), "utf-8")


#: What can happen to a file, by name.
DAMAGES: dict[str, Callable[[Path, Rng], None]] = {
    "flip": _flip,
    "flip_mapped": _flip_mapped,
    "flip_and_restore_the_time": _flip_and_restore_the_time,
    "cut": _cut,
    "append": _append,
    "noise": _noise,
    "zeros": _zeros,
    "zero_block": _zero_block,
    "ones": _ones,
    "remove": _remove,
    "folder": _folder,
    "pipe": _pipe,
    "json": _json,
}


def damage(folder: Path, name: str, seed: int, file: str = "") -> Path:
    """Damages one file directly in a folder.

    Args:
        folder: that of a prepared set, such as `<cache>/listops-words-generated`, or another one.
        name: one of `DAMAGES`.
        seed: decides the file and what happens to it.
        file: the file, such as "labels.npy", instead of one by the seed.

    Returns:
        The file. Its bytes may be the same as before, for example zeros written over zeros.
    """
    rng = np.random.default_rng(seed)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    path = folder / file if file else files[rng.integers(len(files))]
    DAMAGES[name](path, rng)
    return path


def swap(first: Path, second: Path) -> None:
    """Exchanges the names of two files or folders."""
    aside = first.with_name(f"{first.name}.swapped")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
