"""Of several runs of a peer on a kind of device the fastest stands."""

from pathlib import Path

import msgspec

from ssm_bench.record import SpeedRecord, store
from ssm_bench.report import speed

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
    return msgspec.structs.replace(min(old, new, key=_milliseconds), runs=old.runs + 1)


def _what(record: SpeedRecord) -> tuple:
    """What was measured, and on what."""
    shapes = record.shapes("forward_ms") + record.shapes("forward_backward_ms")
    return record.implementation, record.device.kind, [record.sizes.get(size) for size in SIZES], shapes


def _milliseconds(record: SpeedRecord) -> float:
    """A step, started as it is faster; of an operation forward and gradients, all shapes together."""
    if record.operation:
        return sum(m.value or 0.0 for m in record.measurements if m.metric == "forward_backward_ms")
    return speed.fastest_step(record)
