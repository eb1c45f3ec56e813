"""Finds and reads the files that a user already has."""

import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ssm_bench.data.task import RawFiles, Task
from ssm_bench.errors import UserError

#: The environment variable that names the user's folder.
VARIABLE = "SSM_BENCH_RAW"

# The release of the Long Range Arena unpacks to a folder within a folder of the same name.
_DEEPEST = 2

_PIECE = 1 << 20

#: No compressed file of any task holds as much when it is unpacked.
_LARGEST_UNPACKED = 1 << 30


def folder() -> Path | None:
    """The folder that SSM_BENCH_RAW names, or None where it is not set.

    Raises:
        UserError: it is set, but there is no such folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_dir():
        raise UserError(f"{VARIABLE} names {named}, which is not a folder")
    return path


def locate(form: RawFiles) -> list[Path] | None:
    """The paths of all files of a form, in SSM_BENCH_RAW or up to two folders below; None where one is missing."""
    for base in _bases(form):
        paths = [base / name for name in form.names]
        if all(path.exists() for path in paths):
            return paths
    return None


def _bases(form: RawFiles) -> Iterator[Path]:
    """The folders that hold one or more files of a form, the highest first."""
    root = folder()
    if root is None:
        return
    for depth in range(_DEEPEST + 1):
        found = (str(path).removesuffix(name) for name in form.names for path in root.glob("*/" * depth + name))
        yield from map(Path, sorted(set(found)))


def lacking(task: Task, kind: str = "") -> str:
    """What is missing where a form is there in part, as the beginning of a sentence; empty where nothing is.

    Args:
        task: whose files.
        kind: looks at the forms of that kind only.
    """
    for form in task.raw_files():
        for base in _bases(form) if kind in ("", form.kind) else ():
            missing = [name for name in form.names if not (base / name).exists()]
            if missing:
                there = next(name for name in form.names if name not in missing)
                return f"{base} lacks {' and '.join(missing)} next to {there}; "
    return ""


def available(task: Task) -> list[tuple[RawFiles, list[Path]]]:
    """The forms of a task that are there, the most official first."""
    located = [(form, locate(form)) for form in task.raw_files()]
    return [(form, paths) for form, paths in located if paths]


@contextmanager
def tar_gz(path: Path) -> Iterator[tarfile.TarFile]:
    """Opens an archive .tar.gz for reading its members in order; at the end the checksum of the whole file is proven.

    Raises:
        OSError: the contents are not what was packed. What was read before is not to be believed.
    """
    with gzip.open(path) as unpacked:
        # "r|gz" of tarfile does not look at the checksum.
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            yield archive
        while unpacked.read(_PIECE):
            pass


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """What a member of an archive holds.

    Raises:
        ValueError: the member is a folder or a link, or absurdly large.
    """
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"its member {member.name} is no file")
    if member.size > _LARGEST_UNPACKED:
        raise ValueError(f"its member {member.name} claims {member.size:,} bytes")
    return file.read()


def npz(source: Path | bytes) -> dict[str, np.ndarray]:
    """The arrays of a file .npz, checksums proven.

    Raises:
        ValueError: it is absurdly large, or holds something else than arrays of numbers.
        zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > _LARGEST_UNPACKED:
            raise ValueError(f"it claims {size:,} bytes")
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"the checksum of {damaged} differs")
        return {
            member.filename.removesuffix(".npy"): np.load(io.BytesIO(archive.read(member)), allow_pickle=False)
            for member in archive.infolist()
        }


def unpacked_xz(path: Path) -> bytes:
    """What a file .xz holds, checksum proven.

    Raises:
        ValueError: it is absurdly large.
        lzma.LZMAError: it is damaged.
    """
    with lzma.open(path) as file:
        content = file.read(_LARGEST_UNPACKED)
        if file.read(1):
            raise ValueError(f"it unpacks to more than {_LARGEST_UNPACKED:,} bytes")
    return content


def xz_lines(path: Path) -> Iterator[str]:
    """The lines of a text file .xz; after the last one, its checksum is proven.

    Raises:
        ValueError: it is absurdly large, or no text.
        lzma.LZMAError: it is damaged.
    """
    left = _LARGEST_UNPACKED
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        while line := lines.readline(left):
            left -= len(line)
            if left <= 0:
                raise ValueError(f"it unpacks to more than {_LARGEST_UNPACKED:,} characters")
            yield line


def integers(array: np.ndarray, what: str, ndim: int, lowest: int, highest: int) -> np.ndarray:
    """The array itself, if it holds integers in a range; nothing is rounded or converted.

    Raises:
        ValueError: it has another type, another number of dimensions, or other values.
    """
    if array.dtype.kind not in "iu" or array.ndim != ndim:
        raise ValueError(f"{what} are {array.dtype} with {array.ndim} dimensions, not integers with {ndim}")
    if array.size and not lowest <= int(array.min()) <= int(array.max()) <= highest:
        raise ValueError(f"{what} are {array.min()}..{array.max()}; allowed: {lowest}..{highest}")
    return array


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns whatever a broken file raises into one sentence that names the file.

    Args:
        path: the file, or the folder of the files.
        what: what it should be, for example "CIFAR-10 batch".

    Raises:
        UserError: the file is truncated, corrupt or something else.
    """
    # Opening a named pipe waits for its other end.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is no {what}: it is neither a file nor a folder")
    try:
        yield
    except UserError:
        raise
    # A damaged file can make the standard library, NumPy and Pillow raise anything, MemoryError included.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no complete {what} ({reason.rstrip('.')}); fetch it again") from error
