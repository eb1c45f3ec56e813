"""A tiny training run, its record without clocks, and the contents of prepared data."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ssm_bench.data import load
from ssm_bench.record import store

#: Two runs that take less than a second of training: one with batch statistics and lengths, one on pairs of documents.
CELLS = (("lru", "text"), ("gru", "retrieval"))

#: Sizes of these runs: 60 calls of the device, 6 validations.
TINY = (
    *("--data", "synthetic", "--config.model.d_model=8", "--config.model.layers=1"),
    *("--config.task.max_length=64", "--config.task.examples=100", "--config.train.batch_size=16"),
    *("--config.train.steps=60", "--config.train.evaluations=6", "--config.train.chunk=1"),
)


def training(model: str, task: str, *more: str) -> list[str]:
    """The command that trains a tiny run."""
    return ["train", "--model", model, "--task", task, "--preset", "quick", *TINY, *more]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The records below a working directory by their paths, without what depends on the clock.

    Raises:
        UserError: a file that is not a record.
    """
    found = {}
    for path in store.paths(folder / "results"):
        record = json.loads(store.read(path).to_json())
        del record["created"]
        record["cost"] = record["cost"]["peak_memory_bytes"]
        for point in record["curve"]:
            del point["seconds"]
        found[str(path.relative_to(folder))] = record
    return found


def difference(found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> str:
    """Where records differ from the expected ones; empty if they are equal."""
    if found.keys() != expected.keys():
        return f"records {sorted(found)}, not {sorted(expected)}"
    for path, record in found.items():
        for field, value in record.items():
            if json.dumps(value) != json.dumps(expected[path][field]):
                return f"{path}: {field} is {str(value)[:200]}, not {str(expected[path][field])[:200]}"
    return ""


def digest_of(task: str) -> str:
    """One hash of all that a run takes from the data of a task."""
    dataset = load(task, data="real", progress=False)
    digest = hashlib.sha256(json.dumps(dataset.card, sort_keys=True).encode())
    for array in (dataset.values, dataset.offsets, dataset.documents, dataset.labels, *dataset.splits.values()):
        digest.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def files_below(folder: Path) -> dict[str, str]:
    """Hashes of all regular files below a folder except locks, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".lock"
    }
