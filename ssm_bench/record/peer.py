"""Peer records of the authors' own code, trained on our data; shown next to our runs, but not ranked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ssm_bench.errors import UserError
from ssm_bench.record import schema, store
from ssm_bench.record.schema import Count, CurvePoint, Moment, Name, Text

SCHEMA_VERSION = 1


class Source(schema._Part, frozen=True):
    """The authors' code: a GitHub repository, its commit, and the texts replaced to run with current packages."""

    repository: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$")]
    commit: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]
    changes: list[Text]


class PeerRecord(schema._Part, frozen=True):
    """One training run of the authors' code, finished or not.

    `model` is our name of the same model, so that both can be shown in one cell. `recipe` contains the arguments of the
    authors' code. `notes` describe differences from how the authors run their code, and remarks on the run. `revision`
    is the revision of this repository, which provided the data; the commit of the authors' code is in `source`.
    """

    schema_version: Literal[1]
    kind: Literal["peer"]
    status: Literal["ok", "partial", "diverged"]
    source: Source
    model: Name
    task: Name
    protocol: Name
    data: schema.Data
    seed: Count
    recipe: dict[str, Any]
    notes: list[Text]
    steps: schema.Steps
    result: schema.Result | None
    curve: list[CurvePoint]
    cost: schema.Cost
    device: schema.RunDevice
    versions: dict[str, str]
    revision: schema.Revision
    parts: list[schema.Part]
    created: Moment

    @property
    def implementation(self) -> str:
        """The code that was run, as "owner/name@commit" with seven digits of the commit."""
        return f"{self.source.repository}@{self.source.commit[:7]}"

    @property
    def share(self) -> float | None:
        """The planned share of the published schedule; None if no schedule is published."""
        return self.steps.planned / self.steps.published if self.steps.published else None

    def to_json(self) -> str:
        """The text of the record's file: the schema's order, one line per curve point, newline at the end."""
        return schema._text(msgspec.to_builtins(self))


def validate(raw: Mapping[str, Any], where: str = "peer record") -> PeerRecord:
    """Checks a peer's record and freezes it; see `schema.validate`.

    Raises:
        UserError: names `where`, the field and what is wrong with it.
    """
    record: PeerRecord = schema._convert(schema._plain(raw, where), PeerRecord, where)
    if record.status == "ok" and record.result is None:
        raise UserError(f"{where}: field result is null, but status is 'ok'")
    return record


def home(record: PeerRecord, root: Path | str) -> Path:
    """The path of a record: one for each owner, length of schedule, data set and seed."""
    owner = record.source.repository.partition("/")[0].lower()
    name = f"{owner}-{record.steps.planned}-{record.data.checksum[:8]}-s{record.seed}.json"
    return Path(root) / "peers" / record.task / record.model / name


def write(record: PeerRecord, root: Path | str) -> Path:
    """Writes a record where it belongs, atomically."""
    return store.write_text(record.to_json(), home(record, root))


def read(path: Path | str) -> PeerRecord:
    """Reads one record.

    Raises:
        UserError: the file is not JSON or not a valid record; the message names the file and the field.
    """
    return validate(store._json(path), str(path))


def paths(root: Path | str) -> Iterator[Path]:
    """The files of all peers' records, in the order of their names."""
    yield from sorted((Path(root) / "peers").rglob("*.json"))


def inconsistencies(record: PeerRecord) -> list[str]:
    """The contradictions in a valid record, one sentence each; empty if there are none."""
    found, steps = [], record.steps
    if steps.done > steps.planned:
        found.append(f"steps.done is {steps.done}, more than steps.planned, {steps.planned}")
    if record.status == "ok" and steps.done < steps.planned:
        found.append(f"status is 'ok' after {steps.done} of {steps.planned} steps")
    if record.result is not None and record.result.best_step not in {point.step for point in record.curve}:
        found.append(f"result.best_step is {record.result.best_step}, which is no step of the curve")
    numbers = [point.step for point in record.curve]
    if numbers != sorted(set(numbers)):
        found.append("curve is not in the order of its steps")
    if numbers and numbers[-1] > steps.done:
        found.append(f"curve ends at step {numbers[-1]}, after the last step, {steps.done}")
    return found
