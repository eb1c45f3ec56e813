"""Of several runs of a peer on a kind of device the fastest stands."""

import re
from pathlib import Path

import msgspec

from ssm_bench.record import SpeedRecord, store
from ssm_bench.report import speed

#: What a record says that stands for several runs; runs from before they were counted are one.
FASTEST = "the fastest of at least {} runs on this kind of device"

#: The sizes that have to be the same for two records to be runs of the same step.
SIZES = ("batch_size", "length", "directions", "activation_bits")


def fastest(new: SpeedRecord, results: Path) -> SpeedRecord:
    """What to write after a run: the new record, or the one in its place where that is of the same and no slower.

    Another kind of device gets a place of its own, by its name; another commit or another size replaces the record.
    """
    new = store.apart_by_device(new, results)
    old = store.in_place_of(new, results)
    if old is None or _what(old) != _what(new):
        return new
    counts = [re.fullmatch(FASTEST.format(r"(\d+)"), note) for note in old.notes]
    runs = 1 + next((int(count[1]) for count in counts if count), 1)
    best = min(old, new, key=_milliseconds)
    notes = [note for note in best.notes if not re.fullmatch(FASTEST.format(r"\d+"), note)]
    return msgspec.structs.replace(best, notes=[*notes, FASTEST.format(runs)])


def _what(record: SpeedRecord) -> tuple:
    """What was measured, and on what."""
    measured = record.measurements
    shapes = {name for name, value in measured.items() if value and "_ms_at_" in name}
    return record.implementation, record.device.kind, [measured.get(size) for size in SIZES], shapes


def _milliseconds(record: SpeedRecord) -> float:
    """A step, started as it is faster; of an operation forward and gradients, all shapes together."""
    if record.operation:
        return sum(value or 0.0 for name, value in record.measurements.items() if "forward_backward_ms_at_" in name)
    return speed.fastest_step(record)
