"""The record of a run, from its settings, data and outcome."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import printable
from ssm_bench.record import SCHEMA_VERSION, RunRecord, config_hash, validate
from ssm_bench.training import provenance
from ssm_bench.training.identity import recipe
from ssm_bench.training.outcome import Outcome


def make_record(
    config: ConfigDict,
    dataset: Dataset,
    outcome: Outcome,
    *,
    parameters: int = 0,
    state_size: int | None = None,
    devices: int = 1,
    together: Sequence[int] = (),
) -> RunRecord:
    """The record of a run with this outcome; with a new outcome, the record of a run before its start.

    Args:
        config: the resolved configuration.
        dataset: its data.
        outcome: the outcome of the run; it is not modified.
        parameters: number of trainable values of the model.
        state_size: state size of the model.
        devices: number of devices that shared every batch.
        together: all seeds of the program, if there were several.

    Raises:
        UserError: a field has a value that records do not allow.
    """
    card, spec, report = dataset.card, dataset.spec, config.report
    settings, named = config.to_dict(), recipe(config)
    # A run that failed before its first step has no part yet.
    parts = outcome.origins or [provenance.part(devices, config)]
    # Other programs may have started on the device since the run began.
    shared_since = bool(outcome.origins) and provenance.shared()
    notes = [printable(part["note"]) for part in parts if part["note"]]
    pretraining = settings.get("pretraining", {})
    if pretraining.get("checksum"):
        told = "{objective} pretraining, {steps} steps, seed {seed}, checksum {checksum:.12}".format(**pretraining)
        notes.append(f"weights from {told}")
    last = parts[-1]
    batch, seconds = config.train.batch_size, outcome.seconds
    published = {"row": report.published_row, "source": report.published_source}
    return validate(
        {
            "schema_version": SCHEMA_VERSION,
            "status": outcome.status,
            "message": printable(outcome.message),
            "notes": list(dict.fromkeys(notes)),
            "preset": config.preset,
            "protocol": config.protocol,
            "task": {
                "name": spec.name,
                "title": spec.title,
                "classes": spec.classes,
                "length": spec.max_length,
                "suite": spec.suite,
            },
            "model": {
                "name": config.model.name,
                "title": report.title or config.model.name,
                "bibtex": report.bibtex,
                "published": published if report.published_row else None,
                "parameters": parameters,
                "state_size": state_size,
            },
            "data": data_part(card),
            "seed": config.seed,
            "config": settings,
            "differences": named,
            "config_hash": config_hash(named),
            "together": list(together),
            "steps": {
                "done": outcome.step,
                "planned": config.train.steps,
                "published": config.train.published_steps or None,
            },
            "result": outcome.result,
            "curve": outcome.curve,
            "cost": {
                "seconds_train": round(seconds["train"], 3),
                "seconds_compile": round(seconds["compile"], 3),
                "seconds_evaluate": round(seconds["evaluate"], 3),
                "sequences_per_second": round(outcome.step * batch / seconds["train"], 2) if seconds["train"] else None,
                "peak_memory_bytes": outcome.peak_memory,
            },
            "computed": outcome.computed,
            "device": last["device"] | {"shared": any(part["shared"] for part in parts) or shared_since},
            "versions": last["versions"],
            "revision": last["revision"],
            "code": last["code"],
            "parts": [_said(part) for part in parts] if len(parts) > 1 else [],
            "created": provenance.now(),
        }
    )


def _said(part: dict[str, Any]) -> dict[str, Any]:
    """The entry of a record for a part of a run."""
    return {name: part[name] for name in ("revision", "device", "versions")}


def data_part(card: dict[str, Any]) -> dict[str, Any]:
    """The entry of a record for the data, from their card."""
    notes = []
    if card.get("cut"):
        cut = card["cut"]
        notes.append(f"{cut['documents']} of {cut['of']} documents cut to {cut['max_length']} tokens")
    if card.get("examples"):
        notes.append(f"at most {card['examples']} training examples")
    if card["kind"] != "synthetic" and card.get("tokens"):
        notes.append(f"tokens: {card['tokens']}")
    return {
        "identity": card["identity"],
        "kind": card["kind"],
        "source": card["source"],
        "checksum": card["checksum"],
        "counts": card["counts"],
        "label_histogram": card["labels"],
        "notes": notes,
    }
