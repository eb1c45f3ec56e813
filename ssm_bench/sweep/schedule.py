"""The expected time of a list of cells on several devices, and its limiting factor."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from ssm_bench.sweep.progress import duration


@dataclass(frozen=True)
class Schedule:
    """The outcome of list scheduling.

    Attributes:
        devices: number of devices.
        makespan: seconds until the last cell ends.
        busy: fraction of the time of all devices until then that is spent on cells, in [0, 1].
        longest: seconds of the longest cell, a lower bound of the makespan on any number of devices.
    """

    devices: int
    makespan: float
    busy: float
    longest: float

    def sentence(self) -> str:
        """The schedule as one line of a report."""
        limit = "limited by the longest cell" if self.longest >= self.makespan else "limited by the number of devices"
        return (
            f"on {self.devices} devices: {duration(self.makespan)}, or "
            f"{self.devices * self.makespan / 3600:,.0f} device hours, {100 * self.busy:.0f} % of them busy; {limit} "
            f"(longest cell: {duration(self.longest)})"
        )


def schedule(seconds: Sequence[float], devices: int) -> Schedule:
    """Graham's list scheduling: the device that is free first takes the next cell, as the workers of a sweep do.

    Args:
        seconds: expected time of every cell on one device, in the order in which they start; at least one.
        devices: number of devices, at least 1.
    """
    free = [0.0] * min(devices, len(seconds))
    for cell in seconds:
        heapq.heapreplace(free, free[0] + cell)
    makespan = max(free)
    busy = sum(seconds) / (devices * makespan) if makespan else 1.0
    return Schedule(devices, makespan, busy, max(seconds))
