"""Sound records as plain dicts, and ways to spoil them."""

import copy

from ssm_bench.record.identity import config_hash

CONFIG = {"model": {"d_model": 64}, "protocol": "strict", "preset": "budget", "seed": 3}
DIFFERENCES = {"model.d_model": 64}


def raw_record(**changes) -> dict:
    """A sound record as plain dicts, with top-level fields replaced."""
    record = {
        "schema_version": 2,
        "status": "ok",
        "message": "",
        "notes": [],
        "preset": "budget",
        "protocol": "strict",
        "task": {"name": "text", "title": "Text", "classes": 2, "length": 4096},
        "model": {
            "name": "s5",
            "title": "S5",
            "bibtex": "@inproceedings{s5, title={S5}}",
            "published": {"row": "S5", "source": "arXiv 2403.16899 Table II"},
            "parameters": 1000,
            "state_size": None,
        },
        "data": {
            "identity": "IMDb (aclImdb v1)",
            "kind": "official",
            "source": "files of the user",
            "checksum": "0f0f0f0f0f",
            "counts": {"train": 22500, "validation": 2500, "test": 25000},
            "label_histogram": {"test": [12500, 12500]},
            "notes": [],
        },
        "seed": 3,
        "config": copy.deepcopy(CONFIG),
        "differences": dict(DIFFERENCES),
        "config_hash": config_hash(DIFFERENCES),
        "together": [],
        "steps": {"done": 10, "planned": 10, "published": 40},
        "result": {"test_accuracy": 0.875, "test_loss": 0.4, "validation_accuracy": 0.88, "best_step": 10},
        "curve": [
            {
                "step": step,
                "train_loss": 0.7,
                "train_accuracy": 0.5,
                "validation_loss": 0.7,
                "validation_accuracy": 0.5,
                "seconds": 1.5 * step,
            }
            for step in (5, 10)
        ],
        "cost": {
            "seconds_train": 15.0,
            "seconds_compile": 2.0,
            "seconds_evaluate": 1.0,
            "sequences_per_second": 33.5,
            "peak_memory_bytes": None,
        },
        "computed": {},
        "device": {"platform": "cpu", "kind": "cpu", "count": 1, "shared": False},
        "versions": {"jax": "0.10.2", "python": "3.11.0"},
        "revision": {"commit": "33f0217", "dirty": False},
        "code": "0123456789ab",
        "parts": [],
        "created": "2026-01-02T03:04:05Z",
    }
    return record | changes


def raw_speed(**changes) -> dict:
    """A sound speed record as plain dicts, with top-level fields replaced."""
    record = {
        "schema_version": 2,
        "kind": "speed",
        "benchmark": "step",
        "name": "step-s5-text-cpu",
        "model": "s5",
        "task": "text",
        "sizes": {"batch_size": 50},
        "measurements": [{"metric": "step_ms", "value": 12.5}, {"metric": "peak_bytes", "value": None}],
        "config_hash": None,
        "device": {"platform": "cpu", "kind": "cpu", "count": 1, "shared": False},
        "versions": {"jax": "0.10.2"},
        "revision": {"commit": "33f0217", "dirty": False},
        "created": "2026-01-02T03:04:05Z",
    }
    return record | changes


def changed(path: str, value) -> dict:
    """A sound record with the field at a dotted path replaced."""
    raw = raw_record()
    *parents, last = path.split(".")
    part = raw
    for name in parents:
        part = part[name]
    part[last] = value
    return raw
