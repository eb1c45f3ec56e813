"""Progress of long work: a live line on a terminal, or occasional plain lines elsewhere."""

import contextlib
import re
import shutil
import statistics
import sys
import time

from ssm_bench.errors import UserError

#: Seconds between plain lines.
QUIET = 15.0

#: Seconds between estimates of the time that a sweep still takes.
EVERY = 60.0

#: A cell that ends within so many seconds was skipped.
SKIPPED = 1.0

#: Moves to the start of the line and clears it.
CLEAR = "\r\x1b[K"


class Screen:
    """Standard error: permanent lines and, on a terminal, a live line below them."""

    def __init__(self):
        """Checks whether standard error is a terminal."""
        self.live = sys.stderr.isatty()
        self._parts: dict[int, str] = {}

    def update(self, text: str, worker: int = 0) -> None:
        """Updates the live line; several workers share it."""
        self._parts[worker] = text
        width = (shutil.get_terminal_size().columns - 1) // len(self._parts)
        parts = [f"{self._parts[w][: width - 2]:{width if len(self._parts) > 1 else 0}}" for w in sorted(self._parts)]
        self._print(f"{CLEAR}{''.join(parts).rstrip()}", end="")

    def line(self, text: str, worker: int = 0) -> None:
        """Writes a permanent line in place of the live line."""
        self._parts.pop(worker, None)
        self._print(f"{CLEAR if self.live else ''}{text}")

    def _print(self, text: str, end: str = "\n") -> None:
        # There may be no reader: with `2>&1 | tee`, Ctrl-C ends tee first. The work continues, or is saved.
        with contextlib.suppress(OSError):
            print(text, end=end, file=sys.stderr, flush=True)


class Silent(Screen):
    """Shows nothing; used by all processes of a run except process 0."""

    def _print(self, text: str, end: str = "\n") -> None:
        pass


class Progress:
    """Shows the progress of a cell: step, rate, time left."""

    def __init__(self, label: str, screen: Screen | None = None):
        """`label` names the cell, for example "[3/24] s5 text"; the screen is standard error."""
        self.label = label
        self.screen = screen or Screen()
        self.begun = self.last = time.monotonic()

    def __call__(self, step: int, steps: int, rate: float, words: str) -> None:
        """Called after every chunk with updates done, updates planned, updates per second and a short text."""
        now = time.monotonic()
        left = (steps - step) / max(rate, 1e-9)
        line = f"{self.label}: step {step}/{steps}, {rate:.1f} steps/s, {duration(left)} left, {words}"
        if self.screen.live:
            self.screen.update(line)
        elif now - self.last > QUIET or step == steps:
            self.screen.line(line)
            self.last = now

    def end(self, words: str) -> None:
        """Ends the cell with one permanent line."""
        self.screen.line(f"{self.label}: {words} ({duration(time.monotonic() - self.begun)})")


class TimeLeft:
    """Estimates the time that the rest of a sweep takes from the mean time of the cells so far."""

    def __init__(self, cells: int, workers: int = 1):
        """`cells` is the number of all cells, of which `workers` run at the same time."""
        self.cells, self.workers = cells, workers
        self.times: list[float] = []
        self.last = time.monotonic()

    def ended(self, seconds: float) -> str:
        """Called when a cell has ended after some seconds; returns a line about once a minute, else an empty text."""
        self.cells -= 1
        if seconds > SKIPPED:
            self.times.append(seconds)
        if not (self.cells and self.times) or time.monotonic() - self.last < EVERY:
            return ""
        self.last = time.monotonic()
        left = statistics.fmean(self.times) * self.cells / self.workers
        return f"{self.cells} cells left: about {duration(left)} at the mean time of the cells so far"


def duration(seconds: float) -> str:
    """Seconds as "42 s", "3.5 min" or "2.1 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parse_duration(flag: str, text: str) -> float:
    """Seconds from "90", "550s", "9m", "9m10s", "1h30m" or "1.5h".

    Raises:
        UserError: the text has another form, or the time is zero.
    """
    number = r"([0-9]+(?:\.[0-9]+)?)"
    match = re.fullmatch(rf"{number}|(?:{number}h)?(?:{number}m)?(?:{number}s)?", text)
    plain, hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0,) * 4
    total = plain + 3600 * hours + 60 * minutes + seconds
    if not 0 < total < float("inf"):
        raise UserError(f"{flag} takes a time like 90s, 9m, 9m10s or 1h30m, or a number of seconds; got {text!r}")
    return total
