"""The record of a benchmark: what was found, collected and written to results/speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ssm_bench.record import SPEED_VERSION, Measurement, SpeedRecord, config_hash, store, validate_speed
from ssm_bench.report.speed import PRECISION
from ssm_bench.training import provenance
from ssm_bench.training.identity import recipe

#: Numbers that say what was timed. All others are measurements.
SIZES = ("activation_bits", "batch_size", "d_model", "directions", "layers", "length", "seeds", "tokens")


@dataclass
class Findings:
    """What a benchmark has found so far.

    Attributes:
        sizes: of the model and its batches, by the names of SIZES.
        measurements: in the order in which they were made.
        notes: what is missing and why, and remarks, one sentence each.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, found: Mapping[str, float], *, backend: str = "", shape: Sequence[int] = ()) -> None:
        """Adds numbers by the names of their metrics; sizes are distinguished by name."""
        for metric, value in found.items():
            if metric in SIZES and not shape:
                self.sizes[metric] = int(value)
            else:
                self.measurements.append(Measurement(metric=metric, backend=backend, shape=[*shape], value=value))

    def to_dicts(self) -> list[dict[str, Any]]:
        """The measurements as a record holds them."""
        return [
            {"metric": m.metric, "backend": m.backend, "shape": m.shape, "value": m.value} for m in self.measurements
        ]

    def value(self, metric: str, *, backend: str = "", shape: Sequence[int] = ()) -> float | None:
        """The number of a metric with a backend at a shape; None if there is none."""
        sought = (metric, backend, [*shape])
        return next((m.value for m in self.measurements if (m.metric, m.backend, m.shape) == sought), None)


def sizes_of(config: ConfigDict) -> dict[str, int]:
    """Layers, width, directions in which the input is read, and bits of an activation of a resolved configuration."""
    model = config.model
    return {
        "layers": model.layers,
        "d_model": model.d_model,
        "directions": 2 if config.mixer.get("bidirectional") else 1,
        "activation_bits": 32 if model.precision == "float32" else 16,
    }


def of_recipe(record: SpeedRecord, config: ConfigDict) -> bool:
    """Whether a record has the model, task, sizes and precision of a resolved configuration, and no other settings.

    Sizes that the record lacks are not compared.
    """
    sizes = sizes_of(config) | {"batch_size": config.train.batch_size}
    return (
        (record.model, record.task) == (config.model.name, config.task.name)
        and not record.overrides.keys() - {PRECISION}
        and all(record.sizes.get(name, size) == size for name, size in sizes.items())
    )


def write(
    findings: Findings,
    results: Path,
    *,
    benchmark: str,
    default_name: str,
    name: str = "",
    model: str | None = None,
    task: str | None = None,
    operation: str = "",
    config: ConfigDict | None = None,
    overrides: Mapping[str, str] | None = None,
    devices: int = 1,
) -> Path:
    """Writes the record of a benchmark and returns its path.

    Args:
        findings: of the benchmark.
        results: the folder of all results.
        benchmark: which one it was.
        default_name: of the record. A precision other than float32 and the platform are appended to it, and the kind
            of device if another kind has a record of that name.
        name: the complete name, in place of the default one.
        model: the model, if one was timed.
        task: whose recipe it was.
        operation: the operation, if one was timed.
        config: what ran; its hash is recorded.
        overrides: settings that differ from the published recipe, by the names of their flags.
        devices: number of devices that one measurement used.
    """
    device = provenance.device(devices) | {"shared": provenance.shared()}
    if config is not None and config.model.precision != "float32":
        default_name += f"-{config.model.precision}"
    record: SpeedRecord = validate_speed(
        {
            "schema_version": SPEED_VERSION,
            "kind": "speed",
            "benchmark": benchmark,
            "name": name or f"{default_name}-{device['platform']}",
            "model": model,
            "task": task,
            "operation": operation,
            "overrides": overrides or {},
            "sizes": findings.sizes,
            "measurements": findings.to_dicts(),
            "notes": [note for note in (*findings.notes, provenance.note()) if note],
            "config_hash": None if config is None else config_hash(recipe(config)),
            "device": device,
            "versions": provenance.versions(),
            "revision": provenance.revision(),
            "created": provenance.now(),
        }
    )
    if not name:
        record = store.apart_by_device(record, results)
    return store.write_speed(record, results)
