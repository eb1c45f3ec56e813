"""When a run has to leave: a deadline, Ctrl-C, or a polite kill."""

import contextlib
import os
import signal
import threading
import time
from types import FrameType


class Stop:
    """Asked between calls of the device whether the run should save and leave.

    Used as a context manager it turns SIGINT and SIGTERM into a request to stop. A second Ctrl-C stops as soon as the
    present call of the device returns; a second SIGTERM does not, since `timeout` and batch systems send one to a
    process and one to its group.
    """

    #: Seconds kept free before the deadline for the checkpoint and the record.
    MARGIN = 10.0

    def __init__(self, deadline: float | None = None):
        """Starts the clock; `deadline` in seconds from now, None: no deadline."""
        self.end = None if deadline is None else time.monotonic() + deadline
        self.signal = ""
        self._earlier: dict[int, object] = {}

    def reason(self, ahead: float = 0.0) -> str:
        """Why to stop now, in words; empty: go on.

        Args:
            ahead: seconds that the next piece of work will take; it must fit before the deadline.
        """
        if self.signal:
            return f"stopped by {self.signal}"
        if self.end is not None and time.monotonic() + ahead + self.MARGIN > self.end:
            return "deadline"
        return ""

    def _request(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == self.signal == "SIGINT":
            raise KeyboardInterrupt
        if not self.signal:
            # Not by `print`, which the signal may have interrupted; and whether or not there is still a reader.
            with contextlib.suppress(OSError):
                os.write(
                    2, f"\n{name}: leaving after the work under way; on a slow device that takes a while\n".encode()
                )
        self.signal = name

    def __enter__(self) -> "Stop":
        """Installs the handlers; outside the main thread signals can not be caught, and stay as they are."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._earlier[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts the earlier handlers back."""
        for number, handler in self._earlier.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._earlier.clear()
