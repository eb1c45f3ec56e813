"""The schema of records, and their validation.

`docs/records.md` describes the fields. To add, rename or remove a field, change the class, increment SCHEMA_VERSION,
and add a function to UPGRADES that converts records of the previous version. Speed records have their own version.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ssm_bench.errors import UserError, printable
from ssm_bench.record import bibtex, version1
from ssm_bench.record.identity import CHECKSUM_DIGITS, HASH_DIGITS, config_hash, contradiction, run_name

SCHEMA_VERSION = 2

#: Version -> function that converts a run record of this version to the next.
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: version1.upgrade}

SPEED_VERSION = 2

#: The same for speed records.
SPEED_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: version1.upgrade_speed}

#: Statuses that are final and have no accuracy.
FAILURES = ("diverged", "oom", "timeout", "error")

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z", description="safe as a part of a path")]
NameOrNone = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?\Z")]
Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0)]
ConfigHash = Annotated[str, Meta(pattern=rf"^[0-9a-f]{{{HASH_DIGITS}}}\Z")]
Checksum = Annotated[str, Meta(pattern=rf"^[0-9a-f]{{{CHECKSUM_DIGITS},}}\Z")]
Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z", description="UTC, ISO 8601")]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a record: immutable, all fields required, no unknown fields."""


class Task(_Part, frozen=True, omit_defaults=True):
    """The task as it was run.

    Attributes:
        suite: the group of tasks that share a table; "lra", the comparison table, is omitted in JSON.
    """

    name: Name
    title: Text
    classes: Annotated[int, Meta(ge=2)]
    length: Positive
    suite: Name = "lra"


class Published(_Part, frozen=True):
    """The published number of a model: a row and a source in `report/published.csv`."""

    row: Text
    source: Text


class Model(_Part, frozen=True):
    """The model as it was run."""

    name: Name
    title: Text
    bibtex: str
    published: Published | None
    parameters: Count
    state_size: Count | None


class Data(_Part, frozen=True):
    """The data of the run."""

    identity: Text
    kind: Literal["official", "rebuilt", "generated", "synthetic"]
    source: str
    checksum: Checksum
    counts: dict[str, Count]
    label_histogram: dict[str, list[Count]]
    notes: list[str]


class Steps(_Part, frozen=True):
    """Numbers of optimizer steps: done, planned, and in the published recipe (null: no recipe is published)."""

    done: Count
    planned: Positive
    published: Positive | None


class Result(_Part, frozen=True):
    """The scores of the best validation step; accuracies are fractions."""

    test_accuracy: Fraction
    test_loss: float | None
    validation_accuracy: Fraction | None
    best_step: Count


class CurvePoint(_Part, frozen=True):
    """One evaluation during training."""

    step: Count
    train_loss: float | None
    train_accuracy: Fraction | None
    validation_loss: float | None
    validation_accuracy: Fraction | None
    seconds: Seconds | None


class Cost(_Part, frozen=True):
    """The time and memory of the run."""

    seconds_train: Seconds
    seconds_compile: Seconds | None
    seconds_evaluate: Seconds | None
    sequences_per_second: Annotated[float, Meta(ge=0.0)] | None
    peak_memory_bytes: Count | None


class Device(_Part, frozen=True):
    """The devices of the run."""

    platform: Text
    kind: Text
    count: Positive


class RunDevice(Device, frozen=True):
    """Devices, and whether other runs used them at the same time, so that times do not measure speed."""

    shared: bool


class Revision(_Part, frozen=True):
    """The code of the run: a git commit, and whether files differed from it."""

    commit: Text
    dirty: bool


class Part(_Part, frozen=True):
    """A part of a run whose code, device or libraries differ from those of the previous part."""

    revision: Revision
    device: Device
    versions: dict[str, str]


class RunRecord(_Part, frozen=True):
    """One training run, finished or failed."""

    schema_version: Literal[2]
    status: Literal["ok", "partial", "diverged", "oom", "timeout", "error"]
    message: str
    notes: list[Text]
    preset: Name
    protocol: Name
    task: Task
    model: Model
    data: Data
    seed: Count
    config: dict[str, Any]
    differences: dict[str, Any]
    config_hash: ConfigHash
    together: list[Count]
    steps: Steps
    result: Result | None
    curve: list[CurvePoint]
    cost: Cost
    computed: dict[str, Text]
    device: RunDevice
    versions: dict[str, str]
    revision: Revision
    code: Text | None
    parts: list[Part]
    created: Moment

    @property
    def name(self) -> str:
        """The name of its file, without the suffix."""
        return run_name(self.config_hash, self.data.checksum, [self.seed])

    @property
    def alone(self) -> bool:
        """Whether its times measure speed, because no other run shared the device."""
        return not (self.device.shared or self.together)

    def to_dict(self) -> dict[str, Any]:
        """The record as nested dicts and lists, in the order of the schema."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """The text of the record's file: the schema's order, one line per curve point, newline at the end."""
        return _text(self.to_dict())


class Measurement(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """One number of a speed record; empty fields are omitted.

    Attributes:
        metric: the measured quantity; the name contains the unit, as in `step_ms`.
        backend: the backend of the operation or the step.
        shape: the shape of the inputs of an operation, the length of the input, the length and the positions of a
            segment, or the position in a stream.
        value: the value; null if it was not measured.
    """

    metric: Name
    backend: NameOrNone = ""
    shape: list[Positive] = []
    value: float | int | None


class SpeedRecord(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """The result of one benchmark; empty fields are omitted.

    Attributes:
        benchmark: the kind of benchmark; "step" and "scan" also exist for the authors' code.
        operation: the operation, if no model was timed.
        implementation: the authors' code that was timed, as "owner/name@commit", with that commit in `revision`.
        overrides: settings that differ from the published recipe, by the names of their flags.
        sizes: sizes of the model and its batches, such as `batch_size` and `length`.
        runs: number of runs on this kind of device, of which this is the fastest.
        notes: missing measurements with the reason, and remarks.
    """

    schema_version: Literal[2]
    kind: Literal["speed"]
    benchmark: Literal["step", "epoch", "compare", "length", "segments", "scan", "stream", "compile"]
    name: Name
    model: Name | None
    task: Name | None
    operation: NameOrNone = ""
    implementation: str = ""
    overrides: dict[Text, str] = {}
    sizes: dict[Name, Positive] = {}
    measurements: Annotated[list[Measurement], Meta(min_length=1)]
    runs: Positive = 1
    notes: list[Text] = []
    config_hash: ConfigHash | None
    device: RunDevice
    versions: dict[str, str]
    revision: Revision
    created: Moment

    def value(self, metric: str, *, backend: str = "", shape: Sequence[int] = ()) -> float | None:
        """The value measured with a backend at a shape; None if there is none."""
        sought = (metric, backend, list(shape))
        return next((m.value for m in self.measurements if (m.metric, m.backend, m.shape) == sought), None)

    def shapes(self, metric: str) -> list[tuple[int, ...]]:
        """The shapes at which a metric was measured, in increasing order."""
        return sorted({tuple(m.shape) for m in self.measurements if m.metric == metric and m.shape})

    def backends(self, metric: str) -> list[str]:
        """The backends with which a metric was measured, sorted by name."""
        return sorted({m.backend for m in self.measurements if m.metric == metric and m.backend})

    def to_dict(self) -> dict[str, Any]:
        """The record as nested dicts and lists, in the order of the schema."""
        return msgspec.to_builtins(self)

    def to_json(self) -> str:
        """The text of the record's file: the schema's order, one line per measurement, newline at the end."""
        return _text(self.to_dict())


def upgrade(raw: Mapping[str, Any], where: str = "record") -> dict[str, Any]:
    """Converts a run record of any earlier schema version to the current one, step by step.

    Raises:
        UserError: the version is missing, unknown or newer than this program, or the record lacks a field.
    """
    return _lift(raw, where, SCHEMA_VERSION, UPGRADES)


def _lift(given: Mapping[str, Any], where: str, current: int, steps: Mapping[int, Callable]) -> dict[str, Any]:
    raw = dict(given)
    while (version := raw.get("schema_version")) != current:
        if not isinstance(version, int) or version not in steps:
            raise UserError(f"{where}: schema_version is {version!r}; this ssm-bench reads 1 to {current}")
        try:
            raw = steps[version](raw)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{where}: not a record of schema version {version} ({error!r})") from None
    return raw


def validate(raw: Mapping[str, Any], where: str = "record") -> RunRecord:
    """Validates the record of a run.

    NumPy and JAX scalars become plain numbers. Numbers that are not finite (the loss of a diverged run) become null,
    since JSON cannot represent them. Texts must not contain control characters except tabs and newlines, and integers
    must have at most 64 bits, so that tables and terminals can show all records.

    Args:
        raw: the record as nested dicts, of this or any earlier schema version.
        where: the name of the record in error messages, usually its path.

    Raises:
        UserError: names `where`, the field and what is wrong with it.
    """
    record = _convert(upgrade(_plain(raw, where), where), RunRecord, where)
    if record.status == "ok" and record.result is None:
        raise UserError(f"{where}: field result is null, but status is 'ok'")
    if wrong := bibtex.problem(record.model.bibtex):
        raise UserError(f"{where}: field model.bibtex {wrong}")
    if wrong := contradiction(record.config, record.differences):
        raise UserError(f"{where}: field differences: {wrong}")
    if (computed := config_hash(record.differences)) != record.config_hash:
        raise UserError(f"{where}: field config_hash is {record.config_hash!r}, but differences hash to {computed!r}")
    return record


def validate_speed(raw: Mapping[str, Any], where: str = "speed record") -> SpeedRecord:
    """Validates a speed record; see `validate`."""
    lifted = _lift(_plain(raw, where), where, SPEED_VERSION, SPEED_UPGRADES)
    return _convert(lifted, SpeedRecord, where)


def inconsistencies(record: RunRecord) -> list[str]:
    """The contradictions in a valid record, one sentence each; empty if there are none."""
    found = []
    steps, data = record.steps, record.data
    if steps.done > steps.planned:
        found.append(f"steps.done is {steps.done}, more than steps.planned, {steps.planned}")
    if record.status == "ok" and steps.done == 0:
        found.append("status is 'ok' after no step")
    if record.result is not None and record.result.best_step > steps.done:
        found.append(f"result.best_step is {record.result.best_step}, after the last step, {steps.done}")
    curve = [point.step for point in record.curve]
    if any(later <= earlier for earlier, later in itertools.pairwise(curve)):
        found.append("curve is not in the order of its steps")
    if curve and curve[-1] > steps.done:
        found.append(f"curve ends at step {curve[-1]}, after the last step, {steps.done}")
    for split, histogram in data.label_histogram.items():
        if len(histogram) != record.task.classes:
            found.append(f"data.label_histogram.{split} has {len(histogram)} labels, not {record.task.classes}")
        if split in data.counts and sum(histogram) != data.counts[split]:
            found.append(
                f"data.label_histogram.{split} adds up to {sum(histogram)}, data.counts.{split} is {data.counts[split]}"
            )
    return found


def _convert(raw: Mapping[str, Any], kind: type, where: str) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        # msgspec closes its sentence with the place: "Expected `int`, got `str` - at `$.steps.done`".
        what, _, place = str(error).partition(" - at `$")
        field = place.strip("`.") or "(top level)"
        raise UserError(f"{where}: field {field}: {what}") from None


#: Maximum nesting depth of values.
DEEPEST = 32


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """Nested plain JSON values; array scalars become numbers, numbers that are not finite become None.

    Raises:
        UserError: values nested too deep, integers of more than 64 bits, or text that could control a terminal.
    """
    if depth > DEEPEST:
        raise UserError(f"{where}: values are nested more than {DEEPEST} deep")
    if isinstance(value, Mapping):
        return {_plain(str(key), where): _plain(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, where, depth + 1) for item in value]
    if not isinstance(value, str | int | float | None) and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError(f"{where}: an integer of {value.bit_length()} bits; at most 64 are allowed")
    if isinstance(value, str) and value != printable(value):
        raise UserError(f"{where}: text with control characters or lone surrogates: {value[:40]!a}")
    return value


def _text(record: dict[str, Any]) -> str:
    fields = []
    for key, value in record.items():
        if key in ("curve", "measurements") and value:
            lines = ",\n".join(f"    {json.dumps(point)}" for point in value)
            text = f"[\n{lines}\n  ]"
        else:
            # The schema defines no order for maps with arbitrary keys.
            free = key in ("config", "differences", "computed", "versions", "sizes")
            text = json.dumps(value, indent=2, sort_keys=free, ensure_ascii=False).replace("\n", "\n  ")
        fields.append(f'  "{key}": {text}')
    return "{\n" + ",\n".join(fields) + "\n}\n"
