"""Runs commands of `ssm-bench` in child processes and judges how they end.

A child is forked from this process, which has loaded all libraries but has one thread and never starts JAX. That saves
the seconds that loading takes; everything after it is as in a process of its own.
"""

import contextlib
import importlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ssm_bench.cli import main, verbs
from ssm_bench.cli._failures import report
from ssm_bench.training import loop

#: Seconds after which a command counts as hanging.
LONGEST = 300.0

#: Bytes of memory that a command may allocate: a size that passes all checks must not take down the machine.
MEMORY = 12 << 30

_POLL = 0.005


def load_libraries() -> None:
    """Imports what commands import, so that children do not, and makes runs save more often than once a minute."""
    for name in [*(f"ssm_bench.cli.{verb}" for verb in verbs()), "ssm_bench.sweep.cells", "ssm_bench.sweep.workers"]:
        importlib.import_module(name)
    for name in ("ssm_bench.sweep.forecast", "ssm_bench.report.publish", "ssm_bench.report.figures", "rich.progress"):
        importlib.import_module(name)
    loop.CHECKPOINT_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        what: the command, for messages.
        code: its exit code; minus the number of the signal that ended it.
        out: what it printed on standard output.
        err: what it printed on standard error.
        hung: whether it was killed because it did not end.
    """

    what: str
    code: int
    out: str
    err: str
    hung: bool = False


class Child:
    """A running command, the leader of a process group of its own."""

    def __init__(self, what: str, pid: int, out: IO[bytes], err: IO[bytes]):
        """Takes its process and the files that it prints to."""
        self.pid = pid
        self._what, self._out, self._err = what, out, err
        self._code: int | None = None

    def is_running(self, seconds: float = 0.0) -> bool:
        """Whether it still runs; waits for its end for at most so many seconds."""
        end = time.monotonic() + seconds
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                return True
            else:
                time.sleep(_POLL)
        return False

    def send(self, name: str, *, group: bool = False) -> None:
        """Sends a signal to it, or to its group."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, getattr(signal, name))

    def group_is_gone(self, seconds: float) -> bool:
        """Whether all processes of its group end within so many seconds; those that do not are killed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(10 * _POLL)
        self.send("SIGKILL", group=True)
        return False

    def wait(self, seconds: float = LONGEST) -> Ended:
        """Waits for its end; kills it if it does not end."""
        hung = self.is_running(seconds)
        if hung:
            self.send("SIGKILL", group=True)
            self.is_running(LONGEST)
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
            file.close()
        assert self._code is not None
        return Ended(self._what, self._code, texts[0], texts[1], hung)


def start(
    command: Sequence[str] | Callable[[], int | None],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    limits: Mapping[int, int] | None = None,
    full_output: bool = False,
) -> Child:
    """Starts a command in a folder.

    Args:
        command: arguments of `ssm-bench`, or a function whose errors are reported as those of a command.
        folder: its working directory.
        environment: changes of the environment.
        limits: of resources, as `resource.setrlimit` takes them.
        full_output: connects its standard output to /dev/full.
    """
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed by `Child.wait`)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        what = command.__name__ if callable(command) else " ".join(command)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same; whoever is first
        return Child(f"{what} {dict(environment) if environment else ''}".strip(), pid, out, err)
    code = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open("/dev/full", os.O_WRONLY) if full_output else out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.chdir(folder)
        os.environ.update(environment or {})
        tempfile.tempdir = None
        for limit, value in {resource.RLIMIT_DATA: MEMORY, **(limits or {})}.items():
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
        code = _run(command)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # what escaped is a fault, and this is where it is seen
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code & 0xFF)


def _run(command: Sequence[str] | Callable[[], int | None]) -> int:
    try:
        if callable(command):
            return command() or 0
        return main(command)
    except SystemExit as ended:  # --help and --version
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        return report(error)


#: Beginnings and parts of lines that commands print on standard error without failing.
_REMARKS = ("warning: ", "damaged checkpoint in ", "the plan ", "another process is preparing ")


def fault(ended: Ended, codes: Sequence[int], *, remarks: bool = True) -> str:
    """What is wrong with how a command ended, as a sentence; empty if nothing is.

    Args:
        ended: how it ended.
        codes: the exit codes that are right.
        remarks: whether it may print other lines before the sentence about its failure.
    """
    why = ""
    errors = [line for line in ended.err.split("\n")[:-1] if line.startswith(("error: ", "internal error: "))]
    if ended.hung:
        why = f"did not end within {LONGEST:.0f} s"
    elif "Traceback" in ended.err + ended.out or "internal error" in ended.err:
        why = "an internal error"
    elif ended.code not in codes:
        why = f"exit code {ended.code}, not {' or '.join(map(str, codes))}"
    elif not _is_printable(ended.err) or not _is_printable(ended.out):
        why = "control characters"
    elif ended.code == 2 and len(errors) != 1:
        why = f"{len(errors)} sentences"
    elif ended.code == 2 and not ended.err.endswith(f"{errors[0]}\n"):
        why = "lines after the sentence"
    elif ended.code == 2 and not remarks and ended.err != f"{errors[0]}\n":
        why = "more than one sentence"
    return f"{why}: {ended.what!a}: {ended.err[-600:]!a}" if why else ""


def _is_printable(text: str) -> bool:
    return all(c in "\t\n" or unicodedata.category(c) not in ("Cc", "Cs") for c in text)
