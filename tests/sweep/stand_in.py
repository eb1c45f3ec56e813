"""A runner of cells that trains nothing; on the import path of worker processes, as tests are not."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from ssm_bench.training.stop import Stopped


@dataclass(frozen=True)
class StandIn:
    """Does what the name of the model says, and notes what it did in a folder."""

    notes: Path
    seconds: float | None = None
    devices: int = 1
    track: str = ""

    @property
    def choices(self):
        """Choices that fit every cell."""
        return SimpleNamespace(config=lambda cell: None)

    @property
    def results(self):
        """What a runner leaves goes to the notes."""
        return self.notes

    checkpoints = results

    def run(self, cell, stop, progress):
        """A status, a death, or work until told to stop."""
        started = self.notes / f"{cell.model}-{cell.seed}-started"
        if cell.model == "held" or (cell.model == "freed" and not started.exists()):
            started.touch()
            progress.end("under way")
            return "under way"
        started.touch()
        if cell.model == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if cell.model == "hopeless":
            os._exit(3)
        while cell.model in ("long", "saving") and not stop.reason():
            time.sleep(0.02)
        while cell.model == "until_compiled" and not list(self.notes.glob(f"*-{cell.seed + 1}-compiled")):
            time.sleep(0.02)
        if cell.model == "saving":
            # A checkpoint takes its time.
            time.sleep(1)
        if cell.model == "compiling":
            try:
                stop.attempt(lambda: time.sleep(1000))
            except Stopped as stopped:
                (self.notes / f"{cell.model}-{cell.seed}-left").write_text(str(stopped))
            return "partial"
        if cell.model == "stuck":
            time.sleep(1000)
        (self.notes / f"{cell.model}-{cell.seed}-left").touch()
        progress.end("done")
        return "partial" if stop.reason() else "ok"

    def compile(self, cell, stop):
        """Notes the cell, or dies."""
        (self.notes / f"{cell.model}-{cell.seed}-compiled").touch(exist_ok=False)
        if cell.model == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    def fail(self, cell, message, progress):
        """Notes the message."""
        if cell.model == "hopeless":
            os._exit(3)
        (self.notes / f"{cell.model}-{cell.seed}-failed").write_text(message)
        progress.end(message)
        return "error"


def nothing():
    """No settings of JAX."""


def wait_for_ever(note):
    """Settings of JAX that never come to an end."""
    note.touch()
    time.sleep(1000)
