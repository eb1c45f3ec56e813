"""When a run has to leave: a deadline, Ctrl-C, or a signal of the batch system."""

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

#: Requests to save and leave: Ctrl-C, `kill` and `timeout`, a closed terminal, SLURM's warnings before a time limit.
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
    """Work was abandoned since a stop was requested; the message is the reason."""


class Stop:
    """Asked between calls of the device whether the run should save and leave.

    Used as a context manager it turns SIGNALS into a request to stop. A second Ctrl-C stops as soon as the present call
    of the device returns; a second SIGTERM does not, since `timeout` and batch systems send one to a process and one to
    its group.
    """

    #: Seconds kept free before the deadline for the checkpoint and the record.
    MARGIN = 10.0

    def __init__(self, deadline: float | None = None):
        """Starts the clock; `deadline` in seconds from now, None: no deadline."""
        self.end = None if deadline is None else time.monotonic() + deadline
        self.signal = ""
        self._earlier: dict[int, object] = {}

    def reason(self, ahead: float = 0.0) -> str:
        """Why to stop now, in words; empty: continue.

        Args:
            ahead: seconds that the next piece of work will take; it must fit before the deadline.
        """
        if self.signal:
            return f"stopped by {self.signal}"
        if self.end is not None and time.monotonic() + ahead + self.MARGIN > self.end:
            return "deadline"
        return ""

    def agreed(self, wish: bool) -> bool:
        """Whether to do what depends on the clock of a process; several processes that train one run do the same."""
        return wish

    def attempt(self, work: Callable[[], Result]) -> Result:
        """The result of work of unknown duration, such as compiling, which is abandoned when a stop is requested.

        Python cannot end a thread: abandoned work continues until the process ends, so a command calls `leave` last.

        Args:
            work: called in a thread; it must not change what is used after it was abandoned.

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
            # `print` is not safe in a signal handler, and there may be no reader any more.
            told = f"\n{name}: leaving after the work in progress; on a slow device that takes a while\n"
            with contextlib.suppress(OSError):
                os.write(2, told.encode())
        self.signal = name

    def __enter__(self) -> "Stop":
        """Installs the handlers; outside the main thread signals cannot be caught, and stay as they are."""
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
    """Work in a thread that does not keep the process from ending, and what will be its result."""
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
    """The results of work on several items, each in a thread of its own; the first error is raised after all ended."""
    started = [_started(partial(work, item)) for item in items]
    for _, thread in started:
        thread.join()
    return [future.result() for future, _ in started]


def leave(code: int) -> None:
    """Ends the process at once if abandoned work is still running; else does nothing.

    The normal end of a process waits for the compiler, or crashes it.
    """
    if any(thread.is_alive() for thread in _threads):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
