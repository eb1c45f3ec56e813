"""The record of a run, from its settings, its data and how it ended."""

from typing import Any

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.record import RunRecord, config_hash, validate
from ssm_bench.train import provenance
from ssm_bench.train.outcome import Outcome


def make_record(
    config: ConfigDict, dataset: Dataset, outcome: Outcome, *, parameters: int, state_size: int | None, devices: int
) -> RunRecord:
    """The record of a run that ended as `outcome` on so many devices."""
    if len(outcome.origins) > 1:
        outcome.message = joined(outcome.message, "trained in parts by " + ", ".join(outcome.origins))
    # A run that failed before its first step has not taken it up.
    outcome.message = joined(outcome.message, *(outcome.notes or [provenance.note()]))
    card, spec, report = dataset.card, dataset.spec, config.report
    settings = config.to_dict()
    batch, seconds = config.train.batch_size, outcome.seconds
    published = {"row": report.published_row, "source": report.published_source}
    return validate(
        {
            "schema_version": 1,
            "status": outcome.status,
            "message": outcome.message,
            "preset": config.preset,
            "protocol": config.protocol,
            "task": {"name": spec.name, "title": spec.title, "classes": spec.classes, "length": spec.max_length},
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
            "config_hash": config_hash(settings),
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
            "device": provenance.device(devices),
            "versions": provenance.versions(),
            "revision": provenance.revision(),
            "created": provenance.now(),
        }
    )


def joined(*sentences: str) -> str:
    """What a message holds of several sentences, some of which may be empty."""
    return "; ".join(filter(None, sentences))


def data_part(card: dict[str, Any]) -> dict[str, Any]:
    """What a record says of the data, from their card."""
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
