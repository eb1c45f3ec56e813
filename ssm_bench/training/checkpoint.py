"""Checkpoints: the training state, the best parameters so far, and the progress of the run."""

import contextlib
import errno
import hashlib
import itertools
import json
import logging
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import msgspec
from filelock import FileLock, Timeout

from ssm_bench.errors import UserError

LOG = logging.getLogger(__name__)

#: Number of checkpoints to keep: if the newest is damaged, the previous one is used.
KEPT = 2

#: The file of a checkpoint that lists the SHA-256 of all others.
CHECKSUMS = "checksums.json"

#: Seconds to wait for a lock: `holder` takes it for a moment to see whether it is free.
PATIENCE = 0.2


class UnderWay(UserError):
    """Another process is training this run."""


@contextlib.contextmanager
def reserved(folders: Sequence[Path]) -> Iterator[None]:
    """Locks runs, given by the folders of their checkpoints, against other processes.

    The operating system releases the locks when the process ends, even if it is killed.

    Raises:
        UnderWay: another process has locked one of them.
        UserError: a lock cannot be created, for example in a folder of another user.
    """
    with contextlib.ExitStack() as stack:
        for folder in folders:
            file = lock_file(folder)
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(FileLock(file, timeout=PATIENCE))
                # On a file system without locks, the file counts as locked while it has filelock's own content.
                if isinstance(lock, FileLock):
                    file.write_text(f"{os.getpid()} on {platform.node()}\n")
            except Timeout:
                raise UnderWay(
                    f"this run is under way in process {_named_in(file)}, which holds {file}: "
                    "wait until it ends, or choose another folder with --checkpoints"
                ) from None
            except OSError as error:
                raise UserError(
                    f"cannot lock {file}: {_reason(error)}; choose another folder with --checkpoints"
                ) from error
        yield


def holder(folder: Path) -> str:
    """The process that trains in a folder of checkpoints, such as "4711 on node3"; empty if there is none.

    A lock that this user has no permission to acquire counts as free.
    """
    file = lock_file(folder)
    # Taking a lock would create its file.
    if not file.exists():
        return ""
    try:
        with FileLock(file, timeout=0):
            return ""
    except Timeout:
        return _named_in(file)
    except OSError:
        return ""


def _named_in(file: Path) -> str:
    """The process that is named in a lock file."""
    return " ".join(file.read_text().split()) or "(unknown)"


def lock_file(folder: Path) -> Path:
    """The file that a process locks while it trains in a folder of checkpoints; it is not deleted afterwards."""
    return folder.parent / f".{folder.name}.lock"


class Checkpoints:
    """The checkpoints of one run, below one folder: `<step>/tree`, `<step>/progress.json` and `<step>/checksums.json`.

    The folder is named like the run. A checkpoint contains that name, so that one copied from another run is refused.

    `orbax.checkpoint.v1.save` writes the arrays. Since Orbax does not store checksums, this class adds them: it
    assembles a checkpoint in a hidden folder, writes the checksums (SHA-256 of every file) last, and renames the folder
    to make it visible. It compares the files of a checkpoint with the checksums before it uses them, so Orbax never
    reads damaged files. The two newest checkpoints are kept, and the newest undamaged one is used. A warning names
    newer damaged ones, and the next save renames them to `<step>.damaged`. A checkpoint without checksums, from an
    earlier version, counts as damaged.
    """

    def __init__(self, folder: Path):
        """Takes the folder of a run, which the first save creates."""
        self.folder = folder.resolve()
        # The newest checkpoint that was verified or written by this object, and those found damaged.
        self._newest: int | None = None
        self._damaged: list[int] = []

    def steps(self) -> list[int]:
        """The steps of all checkpoints, damaged or not, in increasing order."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if re.fullmatch("[0-9]+", path.name))

    def save(self, step: int, tree: Any, progress: dict[str, Any]) -> None:
        """Writes a checkpoint; after a kill or an error, the earlier checkpoints remain unchanged.

        Args:
            step: number of updates done.
            tree: pytree of arrays.
            progress: plain JSON.

        Raises:
            UserError: it cannot be written, for example because the disk is full.
        """
        if step == self._newest:
            return  # A checkpoint is a function of the step.
        # Imported when it is needed: it takes more than half a second.
        from orbax.checkpoint import v1 as ocp

        draft = self.folder / ".draft"
        try:
            self._once(partial(self._begin, draft))
            with _quiet_orbax():
                ocp.save(str(draft / "tree"), tree)
            about = {"run": self.folder.name, "progress": progress, "arrays": _arrays(tree)}
            self._once(partial(self._finish, draft, step, about))
            self._newest, self._damaged = step, []
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:  # Orbax raises ValueError for a full disk, and at times a bare Exception.
            shutil.rmtree(draft, ignore_errors=True)
            raise UserError(f"cannot write a checkpoint into {self.folder}: {_reason(error)}") from error

    def _once(self, work: Callable[[], None]) -> None:
        """Does work on files in one of the processes that save together."""
        work()

    def _begin(self, draft: Path) -> None:
        """Makes the hidden folder of a checkpoint."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Remains of a killed process.
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()

    def _finish(self, draft: Path, step: int, about: dict[str, Any]) -> None:
        """Adds the files other than arrays, makes the checkpoint visible, and deletes old ones."""
        (draft / "progress.json").write_text(json.dumps(about))
        (draft / CHECKSUMS).write_text(json.dumps(_checksums(draft)))
        for damaged in {*self._damaged, step}.intersection(self.steps()):
            self._set_aside(damaged)
        draft.rename(self.folder / str(step))
        for old in self.steps()[:-KEPT]:
            self._remove(self.folder / str(old))

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest undamaged checkpoint as (tree, progress), or None if there is no checkpoint.

        Args:
            like: a pytree of the same structure, shapes, types and placement.

        Raises:
            UserError: all checkpoints are damaged, or the newest undamaged one has different arrays. The message says
                how to start again.
        """
        about = self._read()
        if about is None:
            return None
        from orbax.checkpoint import v1 as ocp

        folder = self.folder / str(self._newest)
        if about["arrays"] != _arrays(like):
            raise UserError(
                f"the checkpoint {folder} has different arrays than this model and optimizer, whose code has changed "
                f"since: delete {self.folder} to start this run again"
            )
        try:
            with _quiet_orbax():
                return ocp.load(str(folder / "tree"), like), about["progress"]
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            raise UserError(
                f"the checkpoint {folder} is undamaged, but this version of Orbax cannot read it "
                f"({_reason(error)}): delete {self.folder} to start this run again"
            ) from error

    def progress(self) -> dict[str, Any] | None:
        """The progress of the newest undamaged checkpoint, or None; raises `UserError` if all are damaged."""
        about = self._read()
        return None if about is None else about["progress"]

    def _read(self) -> dict[str, Any] | None:
        """`progress.json` of the newest undamaged checkpoint."""
        if self._newest is None:
            problems = self._find()
            if self._newest is None and not problems:
                return None
            told = "; ".join(f"step {step}: {problem}" for step, problem in problems.items())
            if self._newest is None:
                raise UserError(
                    f"no checkpoint in {self.folder} is usable ({told}): delete that folder to start this run again"
                )
            if problems:
                LOG.warning("damaged checkpoint in %s (%s): using step %d instead", self.folder, told, self._newest)
        return json.loads((self.folder / str(self._newest) / "progress.json").read_text())

    def _find(self) -> dict[int, str]:
        """Sets the newest undamaged checkpoint; returns the problem of every newer one."""
        problems: dict[int, str] = {}
        for step in reversed(self.steps()):
            if not (problem := _problem(self.folder / str(step))):
                self._newest = step
                break
            problems[step] = problem
        self._damaged = list(problems)
        return problems

    def clear(self) -> None:
        """Deletes all checkpoints, damaged ones too.

        Raises:
            UserError: one cannot be deleted.
        """
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UserError(f"cannot delete the checkpoints in {self.folder}: {_reason(error)}") from error
        self._newest, self._damaged = None, []

    def _set_aside(self, step: int) -> None:
        """Renames a damaged checkpoint, so that its step can be saved again and nothing is lost."""
        free = (self.folder / f"{step}.damaged{number or ''}" for number in itertools.count())
        (self.folder / str(step)).rename(next(path for path in free if not path.exists()))

    def _remove(self, path: Path) -> None:
        """Deletes a checkpoint; a rename hides it first, so that no reader sees a part of it."""
        gone = self.folder / ".removed"
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by relative path, except the list of checksums itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CHECKSUMS)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _regular(path: Path) -> Path:
    """Returns the path of a regular file; opening a pipe would wait for its writer.

    Raises:
        OSError: the path is not a regular file.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a file", str(path))
    return path


def _problem(folder: Path) -> str:
    """The problem of a damaged checkpoint; empty if its files are those that were saved.

    Raises:
        UserError: this user has no permission to read it.
    """
    try:
        kept = msgspec.json.decode(_regular(folder / CHECKSUMS).read_bytes(), type=dict[str, str])
        for name, checksum in kept.items():
            if _sha256(_regular(folder / name)) != checksum:
                return f"{name} has changed since it was saved"
    except PermissionError as error:
        raise UserError(
            f"cannot read the checkpoint {folder}: {error.strerror}; choose another folder with --checkpoints"
        ) from error
    except FileNotFoundError as error:
        name = Path(str(error.filename)).relative_to(folder)
        return "it has no checksums" if str(name) == CHECKSUMS else f"{name} is missing"
    except (OSError, ValueError) as error:
        return f"its checksums or files cannot be read: {_reason(error)}"
    if "progress.json" not in kept or not any(name.startswith("tree/") for name in kept):
        return "its list of checksums is incomplete"
    # Another seed's checkpoint has the same arrays: only this name distinguishes it.
    run = json.loads((folder / "progress.json").read_text()).get("run")
    return "" if run == folder.parent.name else f"it belongs to the run {run}"


def _arrays(tree: Any) -> list[list[Any]]:
    """Shape and type of every array, in the order of the tree."""
    return [[list(leaf.shape), str(leaf.dtype)] for leaf in jax.tree.leaves(tree)]


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Silences the log of Orbax, which repeats every error over hundreds of lines; the exception has the same message.

    After an exception the log stays silent, since other threads of Orbax may still fail for the same reason.
    """
    log = logging.getLogger("absl")
    earlier = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(earlier)


def _reason(error: Exception) -> str:
    """A short reason why a file could not be written or read."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # TensorStore writes the number of the system's error into a long message.
    if code := re.search(r"os_error_code='([0-9]+)'", str(error)):
        return os.strerror(int(code[1]))
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
