"""Progress of long work: a live line on a terminal, plain lines now and then elsewhere."""

import sys
import time

from ssm_bench.errors import UserError

#: Seconds between plain lines.
QUIET = 15.0


class Progress:
    """Tells how a cell is getting on: step, rate, time left."""

    def __init__(self, label: str):
        """`label` names the cell, for example "3/24 s5 text"."""
        self.label = label
        self.live = sys.stderr.isatty()
        self.begun = self.last = time.monotonic()
        self.first_step: int | None = None

    def __call__(self, step: int, steps: int, rate: float, words: str) -> None:
        """Called after every chunk: updates done, planned, updates per second, a few words."""
        now = time.monotonic()
        left = (steps - step) / max(rate, 1e-9)
        line = f"{self.label}: step {step}/{steps}, {rate:.1f} steps/s, {duration(left)} left, {words}"
        if self.live:
            print(f"\r\x1b[K{line[:110]}", end="", file=sys.stderr, flush=True)
        elif now - self.last > QUIET or step == steps:
            print(line, file=sys.stderr, flush=True)
            self.last = now

    def end(self, words: str) -> None:
        """Closes the cell with one line that stays."""
        seconds = duration(time.monotonic() - self.begun)
        print(f"{chr(13) + chr(27) + '[K' if self.live else ''}{self.label}: {words} ({seconds})", file=sys.stderr)


def duration(seconds: float) -> str:
    """Seconds as "42 s", "3.5 min" or "2.1 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parse_duration(flag: str, text: str) -> float:
    """Seconds from "90", "90s", "9m" or "1.5h".

    Raises:
        UserError: anything else, or not more than zero.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"{flag} takes a time like 90s, 9m or 1.5h; got {text!r}")
    return seconds
