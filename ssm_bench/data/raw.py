"""Finds and reads the files that a user already has."""

import lzma
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssm_bench.data.task import RawFiles, Task
from ssm_bench.errors import UserError

#: The environment variable that names the user's folder.
VARIABLE = "SSM_BENCH_RAW"

# The release of the Long Range Arena unpacks to a folder within a folder of the same name.
_DEEPEST = 2

# Whatever the standard library, numpy and Pillow raise on a file that is cut short or is something else.
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    SyntaxError,
    lzma.LZMAError,
    pickle.UnpicklingError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


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


def lacking(task: Task) -> str:
    """What is there of a form that is not whole, as the beginning of a sentence; empty where nothing is."""
    for form in task.raw_files():
        for base in _bases(form):
            missing = [name for name in form.names if not (base / name).exists()]
            if missing:
                return (
                    f"{base} lacks {' and '.join(missing)} beside {next(n for n in form.names if n not in missing)}; "
                )
    return ""


def available(task: Task) -> list[tuple[RawFiles, list[Path]]]:
    """The forms of a task that are there, the most official first."""
    located = [(form, locate(form)) for form in task.raw_files()]
    return [(form, paths) for form, paths in located if paths]


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """What a member of an archive holds.

    Raises:
        ValueError: the member is a folder or a link.
    """
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"its member {member.name} is no file")
    return file.read()


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns whatever a broken file raises into one sentence that names the file.

    Args:
        path: the file.
        what: what it should be, for example "a CIFAR-10 batch".

    Raises:
        UserError: the file is truncated, corrupt or something else.
    """
    try:
        yield
    except _BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no whole {what} ({reason}); fetch it again") from error
