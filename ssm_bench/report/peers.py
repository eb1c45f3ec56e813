"""Results of the authors' own code on our data, for the cells of our tables."""

from pathlib import Path

from ssm_bench.errors import UserError
from ssm_bench.record import peer
from ssm_bench.record.peer import PeerRecord


def values(root: Path | str, checksum: str | None = None) -> dict[tuple[str, str], PeerRecord]:
    """The record to show next to our cell, by (model, task).

    Finished runs are preferred, then longer schedules, then newer records. Runs on synthetic data and runs without a
    result are left out. Callers must show the share of the schedule, and the status if it is not "ok".

    Args:
        root: the folder of all results.
        checksum: only runs on the data with this checksum (`data.checksum` of our record in the same cell).

    Raises:
        UserError: a file is not a peer record.
    """
    found: dict[tuple[str, str], PeerRecord] = {}
    for record in map(peer.read, peer.paths(root)):
        if record.result is None or record.data.kind == "synthetic" or checksum not in (None, record.data.checksum):
            continue
        cell = record.model, record.task
        found[cell] = max(found.get(cell, record), record, key=_preference)
    return found


def _preference(record: PeerRecord) -> tuple[bool, int, str]:
    return record.status == "ok", record.steps.done, record.created


def problems(root: Path | str) -> list[str]:
    """The problems of peer records, one sentence each: schema, path and contradictions."""
    found = []
    for path in peer.paths(root):
        try:
            record = peer.read(path)
        except UserError as error:
            found.append(str(error))
            continue
        home = peer.home(record, root)
        found += [f"{path}: belongs at {home}"] if path != home else []
        found += [f"{path}: {sentence}" for sentence in peer.inconsistencies(record)]
    return found
