"""Checkpoints: the training state, the best parameters so far, and the progress that goes with them."""

import contextlib
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from filelock import FileLock, Timeout

from ssm_bench.errors import UserError


class UnderWay(UserError):
    """Another process trains this run."""


@contextlib.contextmanager
def reserved(folders: Sequence[Path]) -> Iterator[None]:
    """Keeps other processes from runs, by the folders of their checkpoints.

    The locks are the operating system's: they end with their process, however it ends.

    Raises:
        UnderWay: another process has one of them.
    """
    with contextlib.ExitStack() as stack:
        for folder in folders:
            file = lock_file(folder)
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock = stack.enter_context(FileLock(file, timeout=0))
            except Timeout:
                holder = " ".join(file.read_text().split()) or "(unknown)"
                raise UnderWay(
                    f"this run is under way in process {holder}, which holds {file}: "
                    "wait for its end, or choose another folder with --checkpoints"
                ) from None
            # Where the file system has no locks, the file is one by what filelock writes into it.
            if isinstance(lock, FileLock):
                file.write_text(f"{os.getpid()} on {platform.node()}\n")
        yield


def lock_file(folder: Path) -> Path:
    """What the process that trains in a folder of checkpoints keeps locked; it stays there afterwards."""
    return folder.parent / f".{folder.name}.lock"


class Checkpoints:
    """The checkpoints of one run; only the newest is kept, and it replaces the last one atomically."""

    def __init__(self, folder: Path):
        """Opens (and creates) the folder of a run."""
        self.folder = folder.resolve()
        options = ocp.CheckpointManagerOptions(max_to_keep=1, create=True, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, tree: Any, progress: dict[str, Any]) -> None:
        """Writes a checkpoint; a kill at any moment leaves the last one whole.

        Args:
            step: number of updates done.
            tree: pytree of arrays.
            progress: plain JSON.

        Raises:
            UserError: it can not be written.
        """
        if step == self.manager.latest_step():
            return  # a function of the step: what is there is the same
        items = ocp.args.Composite(tree=ocp.args.StandardSave(tree), progress=ocp.args.JsonSave(progress))
        try:
            self.manager.save(step, args=items, force=True)
            self.manager.wait_until_finished()
        except OSError as error:
            raise UserError(f"can not write a checkpoint into {self.folder}: {error.strerror or error}") from error

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """The newest checkpoint as (tree, progress), or None where there is none.

        Args:
            like: a pytree of the same structure, shapes and types.

        Raises:
            UserError: the checkpoint does not fit; the message says how to start afresh.
        """
        restored = self._read(tree=ocp.args.StandardRestore(like), progress=ocp.args.JsonRestore())
        return None if restored is None else (restored["tree"], restored["progress"])

    def progress(self) -> dict[str, Any] | None:
        """The progress alone of the newest checkpoint; raises as `restore`."""
        restored = self._read(progress=ocp.args.JsonRestore())
        return None if restored is None else restored["progress"]

    def _read(self, **items: Any) -> Any:
        step = self.manager.latest_step()
        if step is None:
            return None
        try:
            return self.manager.restore(step, args=ocp.args.Composite(**items))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(
                f"the checkpoint in {self.folder} can not be read ({type(error).__name__}); "
                "it is damaged or of another version: delete that folder to start this run afresh"
            ) from error

    def clear(self) -> None:
        """Forgets what was saved."""
        for step in self.manager.all_steps():
            self.manager.delete(step)

    def close(self) -> None:
        """Releases the folder."""
        self.manager.close()
