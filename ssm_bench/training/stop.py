"""Requests to stop a run: a deadline, Ctrl-C, or a signal of the batch system."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Requests to save and exit: Ctrl-C, `kill` and `timeout`, a closed terminal, SLURM's warnings before a time limit.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU")
    if hasattr(signal, name)  # Windows has two of them.
)

#: Bytes of stack for the thread of `Stop.attempt`. With `ulimit -s unlimited` the default is 2 MB, too few to compile.
STACK = 64 << 20

#: The threads of `Stop.attempt` that may still be running.
_threads: list[threading.Thread] = []


class Stopped(Exception):
    """Work was abandoned because a stop was requested; the message is the reason."""


class Stop:
    """Tells a run, between calls of compiled programs, whether it should save and exit.

    As a context manager, it turns SIGNALS into a request to stop. A second Ctrl-C stops as soon as the current call
    returns. A second SIGTERM does not, since `timeout` and batch systems send one to a process and one to its group.
    """

    #: Seconds kept free before the deadline for the checkpoint and the record.
    MARGIN = 10.0

    def __init__(self, deadline: float | None = None):
        """Starts the clock; `deadline` is in seconds from now; None: no deadline."""
        self.end = None if deadline is None else time.monotonic() + deadline
        self.signal = ""
        self._earlier: dict[int, object] = {}

    def reason(self, ahead: float = 0.0) -> str:
        """The reason to stop now; empty: continue.

        Args:
            ahead: expected seconds of the next work, which must fit before the deadline.
        """
        if self.signal:
            return f"stopped by {self.signal}"
        if self.end is not None and time.monotonic() + ahead + self.MARGIN > self.end:
            return "deadline"
        return ""

    def agreed(self, wish: bool) -> bool:
        """A decision that depends on the clock of a process; all processes that train one run get the same result."""
        return wish

    def attempt(self, work: Callable[[], Result]) -> Result:
        """The result of work of unknown duration, such as compiling, which is abandoned when a stop is requested.

        Python cannot end a thread. Abandoned work continues until the process ends, so a command calls `leave` last.

        Args:
            work: called in a thread; it must not modify anything that is used after it was abandoned.

        Raises:
            Stopped: a stop was requested before the work ended.
        """
        if reason := self.reason():
            raise Stopped(reason)
        future, thread = _started(work)
        while thread.is_alive():
            if reason := self.reason():
                raise Stopped(reason)
            thread.join(0.1)
        return future.result()

    def _request(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == self.signal == "SIGINT":
            raise KeyboardInterrupt
        if not self.signal:
            # `print` is not safe in a signal handler, and the reader of a pipe may have exited.
            told = f"\n{name}: leaving after the work in progress; on a slow device that takes a while\n"
            with contextlib.suppress(OSError):
                os.write(2, told.encode())
        self.signal = name

    def __enter__(self) -> "Stop":
        """Installs the handlers, but only in the main thread, since Python does not allow it in others."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # `nohup` ignores SIGHUP on behalf of its command.
                if number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._earlier[number] = signal.signal(number, self._request) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        """Restores the earlier handlers."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._earlier.clear()


def _started(work: Callable[[], Result]) -> tuple[Future[Result], threading.Thread]:
    """Starts work in a daemon thread; returns the thread and the future result."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    earlier = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=run, name="attempt", daemon=True)
        thread.start()
    finally:
        threading.stack_size(earlier)
    _threads[:] = [*(each for each in _threads if each.is_alive()), thread]
    return future, thread


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of work on several items, each in its own thread; the first error is raised after all have ended."""
    started = [_started(partial(work, item)) for item in items]
    for _, thread in started:
        thread.join()
    return [future.result() for future, _ in started]


def leave(code: int) -> None:
    """Ends the process immediately if abandoned work is still running; else does nothing.

    A normal exit would wait for the compiler, or crash in it.
    """
    if any(thread.is_alive() for thread in _threads):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
