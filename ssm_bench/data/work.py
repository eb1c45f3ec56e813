"""How much of the machine to use for preparing data, and how to show the progress."""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Work:
    """How to work.

    Attributes:
        workers: processes; 0 means one per core this process may use.
        progress: whether to report on standard error.
    """

    workers: int = 0
    progress: bool = True

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """function(item) for each item, in the order of the items, computed by several processes.

        The items may be endless: only a few are taken ahead. The function must come from a module, not from the
        script that is run: the processes do not run that script again, so it needs no `if __name__ == "__main__"`.
        Where processes cannot be started or are killed, this process does the rest itself; the results are the same.
        """
        items = iter(items)
        workers = self.workers or usable_cores()
        pending: list = []
        if workers > 1:
            # Spawned, not forked: a fork of a process that runs JAX threads may hang.
            # They leave Ctrl-C to this process.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
                try:
                    for item in items:
                        with _script_hidden():
                            future = pool.submit(function, item)
                        pending.append((item, future))
                        if len(pending) >= 2 * workers:
                            yield pending[0][1].result()
                            pending.pop(0)
                    while pending:
                        yield pending[0][1].result()
                        pending.pop(0)
                except BrokenProcessPool:
                    pass
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        for item, _ in pending:
            yield function(item)
        yield from map(function, items)

    def map_threads(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """As `map`, by threads of this process: for a function that does not hold Python's lock."""
        workers = self.workers or usable_cores()
        pending: deque = deque()
        with ThreadPoolExecutor(workers) as pool:
            try:
                for item in items:
                    pending.append(pool.submit(function, item))
                    if len(pending) >= 2 * workers:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                # After Ctrl-C or an error, work that has not started is dropped; work in progress is awaited.
                pool.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yields a function that adds to the amount of work done; a moving bar on a terminal, plain lines elsewhere."""
        if not self.progress:
            yield lambda amount: None
        elif sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            with Progress(console=Console(stderr=True), transient=True) as progress:
                task = progress.add_task(description, total=total)
                yield lambda amount: progress.update(task, advance=amount)
        else:
            lines = _Lines(description, total)
            yield lines.advance
            lines.finish()

    def say(self, line: str) -> None:
        """One line on standard error, unless silent."""
        if self.progress:
            print(line, file=sys.stderr, flush=True)

    def track(self, items: Sequence[Item], description: str) -> Iterator[Item]:
        """The items, with a bar."""
        with self.bar(description, len(items)) as advance:
            for item in items:
                yield item
                advance(1)


class _Lines:
    def __init__(self, description: str, total: int):
        self.description, self.total, self.done = description, total, 0
        self.start = self.last = time.monotonic()

    def advance(self, amount: int) -> None:
        self.done += amount
        if time.monotonic() - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            print(f"{self.description}: {self.done:,} of {self.total:,}", file=sys.stderr, flush=True)

    def finish(self) -> None:
        seconds = time.monotonic() - self.start
        print(f"{self.description}: {self.done:,} in {seconds:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def _script_hidden() -> Iterator[None]:
    """While it lasts, new processes do not find the script that this process runs, so that they do not run it again.

    A script that calls `load` without a main guard would do so again in each of them, and each would wait for the lock
    that this process holds.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
