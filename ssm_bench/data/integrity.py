"""Proves that prepared files are what was written, and remembers the proof so that a second open costs nothing."""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from ssm_bench.data.corpus import Corpus

#: The file in a prepared folder that remembers which files were verified.
STAMP = "verified.json"

# A file that changes twice within one tick of the file system's clock keeps its time of change.
_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_000_000_000

#: Files verified by this process, for folders that no stamp can be written for.
_verified: set[str] = set()


def file_sha256(path: Path) -> str:
    """SHA-256 of all bytes of a regular file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(value: object) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def wrong_files(folder: Path, files: dict[str, dict], *, trust_stamp: bool = True) -> list[str]:
    """What is wrong with the files of a prepared folder, one clause each.

    The SHA-256 of every file is computed at the first call, and the result is remembered together with device, inode,
    size and times of change of the files: next to them, or in the user's cache folder where theirs is read-only. As
    long as these stay the same, a later call reads nothing.

    Args:
        folder: holds the files.
        files: name -> its "bytes" and "sha256".
        trust_stamp: False computes every checksum again.

    Raises:
        FileNotFoundError: a file does not exist.
    """
    wrong = []
    for name, expected in files.items():
        found = (folder / name).stat()
        if not stat.S_ISREG(found.st_mode):
            wrong.append(f"{name} is not a file")
        elif found.st_size != expected["bytes"]:
            wrong.append(f"{name} has {found.st_size:,} bytes, not {expected['bytes']:,}")
    if wrong:
        return wrong
    paths = [folder / name for name in files]
    expected = [files[name]["sha256"] for name in files]
    if trust_stamp and _stamp(paths, expected) in _remembered(folder):
        return []
    _wait_for_a_tick(paths)
    stamp = _stamp(paths, expected)
    for path, sha256 in zip(paths, expected, strict=True):
        if file_sha256(path) != sha256:
            wrong.append(f"{path.name} is not what was written: its checksum differs")
    if not wrong:
        _remember(folder, stamp)
    return wrong


def remember_written(folder: Path, files: dict[str, dict]) -> None:
    """Remembers that the files of a folder were just written and read back, as `wrong_files` would.

    Args:
        folder: holds the files.
        files: name -> its "bytes" and "sha256".
    """
    paths = [folder / name for name in files]
    _wait_for_a_tick(paths)
    _remember(folder, _stamp(paths, [files[name]["sha256"] for name in files]))


def impossible(corpus: Corpus, classes: int, max_length: int) -> list[str]:
    """What cannot be true of a corpus, one clause each: shapes, types and ranges of all arrays."""
    values, offsets, documents, labels = corpus.values, corpus.offsets, corpus.documents, corpus.labels
    if values.dtype not in (np.uint8, np.uint16) or values.ndim != 1:
        return ["values are not one row of uint8 or uint16"]
    if offsets.dtype != np.int64 or offsets.ndim != 1 or len(offsets) < 2:
        return ["offsets are not one row of int64"]
    if labels.dtype != np.int32 or labels.ndim != 1 or not len(labels):
        return ["labels are not one row of int32"]
    if documents.dtype != np.int32 or documents.ndim != 2 or len(documents) != len(labels):
        return ["documents are not one row of int32 for each label"]
    lengths = np.diff(offsets)
    checks = {
        "the documents do not fill the values": offsets[0] == 0
        and offsets[-1] == len(values)
        and bool((lengths > 0).all()),
        "a document is longer than the task allows": int(lengths.max()) <= max_length,
        "an example names a document that does not exist": int(documents.min()) >= 0
        and int(documents.max()) < len(offsets) - 1,
        f"a label lies outside 0..{classes - 1}": 0 <= int(labels.min()) <= int(labels.max()) < classes,
        "the parts do not add up to the examples": min(corpus.parts.values()) >= 0
        and sum(corpus.parts.values()) == len(labels),
        "a token lies outside the vocabulary": not corpus.vocabulary.tokens
        or int(values.max()) < len(corpus.vocabulary.tokens),
    }
    return [clause for clause, holds in checks.items() if not holds]


def _stamp(paths: Iterable[Path], expected: list[str]) -> str:
    found = [path.stat() for path in paths]
    identities = [[f.st_dev, f.st_ino, f.st_size, f.st_mtime_ns, f.st_ctime_ns] for f in found]
    return text_sha256([identities, expected])


def _wait_for_a_tick(paths: Iterable[Path]) -> None:
    """Waits until a change of any of the files would change its time."""
    changed = max(path.stat().st_mtime_ns for path in paths)
    tick = _TICK_NS if changed % 1_000_000_000 else _COARSE_TICK_NS
    left = changed + tick - time.time_ns()
    if 0 < left <= tick:
        time.sleep(left / 1e9)


def _stamp_files(folder: Path) -> list[Path]:
    """Where the stamp of a folder may lie: in it, else in the user's cache folder."""
    found = [folder / STAMP]
    with suppress(RuntimeError, OSError):
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
        found.append(Path.home() / ".cache" / "ssm_bench" / ".verified" / f"{name}.json")
    return found


def _remembered(folder: Path) -> set[str]:
    stamps = set(_verified)
    for path in _stamp_files(folder):
        with suppress(OSError, ValueError, RecursionError):
            if path.is_file():
                stamps.add(str(json.loads(path.read_text("utf-8"))))
    return stamps


def _remember(folder: Path, stamp: str) -> None:
    _verified.add(stamp)
    for path in _stamp_files(folder):
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            if path.parent != folder:
                path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(stamp) + "\n", "utf-8")
            partial.replace(path)
            return
        except OSError:
            with suppress(OSError):
                partial.unlink()
