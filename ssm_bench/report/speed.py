"""The tables of docs/performance.md, from speed records: ours, beside the floor and beside the authors' code."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ssm_bench.record import SpeedRecord
from ssm_bench.report import floor
from ssm_bench.report.render import md

#: What `ssm-bench bench scan` calls a measurement; the authors' backends have names of their own.
MEASUREMENT = re.compile(
    r"(?P<backend>[a-z]+)"
    r"_(?P<what>forward_ms|forward_backward_ms|temporary_bytes|output_bytes|value_error|gradient_error)"
    r"_at_(?P<shape>\d+(x\d+)*)"
)

#: Where the records stand, from the page.
RECORDS = "../results/speed"

NOTHING = "No record yet."


def blocks(records: Iterable[SpeedRecord]) -> dict[str, str]:
    """Name of a marked part -> its text."""
    records = sorted(records, key=lambda record: record.name)
    return {
        "speed-steps": table(STEP_HEADS, _steps(records)),
        "speed-epochs": table(EPOCH_HEADS, _epochs(records)),
        "speed-backends": table(COMPARE_HEADS, _compared(records)),
        "speed-operations": table(OPERATION_HEADS, _operations(records)),
        "speed-lengths": table(LENGTH_HEADS, _lengths(records)),
        "speed-streams": table(STREAM_HEADS, _streams(records)),
    }


STEP_HEADS = (
    *("Model", "Task", "Batch x length", "Activations", "ms a step", "Floor, ms", "Peak memory"),
    *("Authors' code, ms", "Times faster", "Authors' peak memory", "Measured"),
)


#: What has to be the same for a step of the authors' code to stand beside ours; and what too, where theirs tells it.
SAME = ("batch_size", "length", "directions")
SAME_IF_TOLD = ("layers", "d_model")

#: How `ssm-bench bench` notes the flags beside the published recipe that a record was made with.
WITH_FLAGS = re.compile(r"with (?P<flags>--\S.*)")

#: The one that names and tables tell in a place of its own.
PRECISION = "--config.model.precision="

#: Those that leave it what the authors' code runs: precision has a column, and their LRU reads one way, with whole GLU.
STILL_PUBLISHED = (PRECISION, "--config.mixer.bidirectional=", "--config.scaffold.activation=glu")


def _steps(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each of our steps, with the peers of the same model, task, sizes and device."""
    for record in own_steps(records):
        found = record.measurements
        beside = peers(record, records)
        least = None
        if all(found.get(name) for name in ("tokens_per_second", "layers", "d_model")):
            tokens = _get(record, "tokens_per_second") * _get(record, "step_ms") / 1000
            least = floor.step_ms(
                record.device.kind,
                tokens=tokens,
                width=_get(record, "d_model"),
                layers=_get(record, "layers"),
                bits=found.get("activation_bits") or 32,
            )
        size = f"{found.get('batch_size')} x {found.get('length')}"
        yield [
            md(model_of(record)),
            md(record.task or ""),
            f"{size}, one way" if found.get("directions") == 1 else size,
            activations(record),
            link(record, short(found["step_ms"])),
            short(least),
            _bytes(found.get("peak_bytes")),
            _lines(
                f"{link(peer, short(fastest_step(peer)))} {md(peer.implementation)}, {activations(peer)}"
                for peer in beside
            ),
            _lines(ratio(fastest_step(peer), found["step_ms"]) for peer in beside),
            _lines(_bytes(peer.measurements.get("peak_bytes")) for peer in beside),
            _measured(record, *beside),
        ]


def own_steps(records: Sequence[SpeedRecord]) -> list[SpeedRecord]:
    """The steps of our models."""
    return [r for r in records if r.model and not r.implementation and "step_ms" in r.measurements]


def peers(record: SpeedRecord, records: Sequence[SpeedRecord]) -> list[SpeedRecord]:
    """Steps of the authors' code with the model, task, sizes and device of a record of ours, if it is of the recipe."""
    ours = record.measurements
    return [
        peer
        for peer in records
        if peer.implementation
        and all(flag.startswith(STILL_PUBLISHED) for flag in flags(record))
        and peer.measurements.get("step_ms")
        and (peer.model, peer.task, peer.device.kind) == (record.model, record.task, record.device.kind)
        and all(peer.measurements.get(size) == ours.get(size) for size in SAME)
        and all(peer.measurements.get(size) in (None, ours.get(size)) for size in SAME_IF_TOLD)
    ]


def flags(record: SpeedRecord) -> list[str]:
    """The flags that a record was made with beside the published recipe."""
    noted = [match["flags"] for note in record.notes if (match := WITH_FLAGS.fullmatch(note))]
    return [flag for text in noted for flag in text.split()]


def model_of(record: SpeedRecord) -> str:
    """The model of a record, with the settings that are not its published ones; precision is told apart from it."""
    changed = [flag for flag in flags(record) if not flag.startswith(PRECISION)]
    return ", ".join([record.model or "", *changed])


def fastest_step(peer: SpeedRecord) -> float:
    """Milliseconds of a step of the authors' code: started several at a time or one by one, whichever is faster."""
    return min(_get(peer, name) for name in ("step_ms", "step_ms_one_per_call") if peer.measurements.get(name))


EPOCH_HEADS = (
    *("Model", "Task", "Batch", "Padded lengths", "Share of the full length", "Activations", "Sequences a second"),
    *("Authors' code, all padded", "Times faster", "Measured"),
)


def _epochs(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each epoch over real data; the authors' code pads every batch to the full length, as in its step."""
    for record in records:
        found = record.measurements
        if "epoch_step_ms" not in found:
            continue
        beside = peers(record, records)
        theirs = [1000 * _get(peer, "batch_size") / fastest_step(peer) for peer in beside]
        yield [
            md(model_of(record)),
            md(record.task or ""),
            f"{found.get('batch_size')}",
            f"{found.get('lengths')}",
            short(found.get("padded_share")),
            activations(record),
            link(record, short(found.get("sequences_per_second"))),
            _lines(
                f"{link(peer, short(rate))} {md(peer.implementation)}, {activations(peer)}"
                for peer, rate in zip(beside, theirs, strict=True)
            ),
            _lines(ratio(found.get("sequences_per_second"), rate) for rate in theirs),
            _measured(record, *beside),
        ]


COMPARE_HEADS = (
    *("Model", "Task", "Batch x length", "Activations", "Backend", "ms a step", "Temporary memory"),
    *("Times faster than the reference", "Measured"),
)


def _compared(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each backend of each `bench compare`."""
    for record in records:
        found = record.measurements
        if not any(name.endswith("_times_faster") for name in found):
            continue
        backends = [name.removesuffix("_step_ms") for name in found if name.endswith("_step_ms")]
        for backend in sorted(backends, key=lambda name: f"{name}_times_faster" not in found):
            yield [
                md(model_of(record)),
                md(record.task or ""),
                f"{found.get('batch_size')} x {found.get('length')}",
                activations(record),
                md(backend),
                link(record, short(found[f"{backend}_step_ms"])),
                _bytes(found.get(f"{backend}_temporary_bytes")),
                short(found.get(f"{backend}_times_faster")),
                _measured(record),
            ]


OPERATION_HEADS = (
    *("Operation", "Shape", "Backend", "Forward, ms", "Floor", "With gradients, ms", "Floor", "Temporary memory"),
    *("With outputs", "Error", "Error of gradients", "Times faster than associative", "Authors' code, ms"),
    *("Times faster", "Authors' memory", "Measured"),
)


@dataclass(frozen=True)
class _Cell:
    """Measurements of one backend at one shape."""

    record: SpeedRecord
    backend: str
    shape: str

    def __getitem__(self, what: str) -> float | None:
        return self.record.measurements.get(f"{self.backend}_{what}_at_{self.shape}")


def _operations(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each of our backends at each shape, with the authors' times of the same shape and device."""
    cells = [cell for record in records if record.operation for cell in _cells(record)]
    for cell in cells:
        record = cell.record
        if record.implementation:
            continue
        same = (record.operation, record.device.kind, cell.shape)
        beside = [
            other
            for other in cells
            if other.record.implementation and (other.record.operation, other.record.device.kind, other.shape) == same
        ]
        reference = _Cell(record, "associative", cell.shape)
        shape = [int(size) for size in cell.shape.split("x")]
        least = [floor.operation_ms(record.device.kind, record.operation, shape, backward=b) for b in (False, True)]
        yield [
            md(record.operation),
            cell.shape,
            md(cell.backend),
            link(record, short(cell["forward_ms"])),
            short(least[0]),
            short(cell["forward_backward_ms"]),
            short(least[1]),
            _bytes(cell["temporary_bytes"]),
            _bytes(_with_outputs(cell)),
            _error(cell["value_error"]),
            _error(cell["gradient_error"]),
            _ratios(reference, cell) if cell.backend != "associative" else "–",
            _lines(
                link(peer.record, f"{short(peer['forward_ms'])} / {short(peer['forward_backward_ms'])}")
                + f" {md(peer.record.implementation)}"
                for peer in beside
            ),
            _lines(_ratios(peer, cell) for peer in beside),
            _lines(_bytes(peer["temporary_bytes"]) for peer in beside),
            _measured(record, *(peer.record for peer in beside)),
        ]


def _with_outputs(cell: _Cell) -> float | None:
    """What a program needs beside its inputs; older records do not know it."""
    temporary, outputs = cell["temporary_bytes"], cell["output_bytes"]
    return None if temporary is None or outputs is None else temporary + outputs


def _ratios(theirs: _Cell, ours: _Cell) -> str:
    """How many times faster ours is, forward / with gradients; a dash where they have no time."""
    times = ("forward_ms", "forward_backward_ms")
    if not any(theirs[what] for what in times):
        return "–"
    return " / ".join(ratio(theirs[what], ours[what]) for what in times)


def _cells(record: SpeedRecord) -> list[_Cell]:
    """Every backend at every shape of a record, in the order of the sizes."""
    matches = [match for name in record.measurements if (match := MEASUREMENT.fullmatch(name))]
    found = {(match["shape"], match["backend"]) for match in matches}
    return [
        _Cell(record, backend, shape)
        for shape, backend in sorted(found, key=lambda pair: ([int(n) for n in pair[0].split("x")], pair[1]))
    ]


LENGTH_HEADS = (
    *("Model", "Task", "Activations", "Tokens a batch", "Length", "Batch", "ms a step", "Tokens a second"),
    *("Temporary memory", "Measured"),
)


def _lengths(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each length of each `bench length`."""
    for record in records:
        found = record.measurements
        for length in lengths_of(record, "step_ms_at_"):
            yield [
                md(model_of(record)),
                md(record.task or ""),
                activations(record),
                f"{found.get('tokens') or '–'}",
                f"{length}",
                f"{found.get(f'batch_size_at_{length}')}",
                link(record, short(found[f"step_ms_at_{length}"])),
                short(found.get(f"tokens_per_second_at_{length}")),
                _bytes(found.get(f"temporary_bytes_at_{length}")),
                _measured(record),
            ]


STREAM_HEADS = ("Model", "Task", "Position", "ms a token", "ms, one a call", "State", "Measured")


def _streams(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each position of each `bench stream`; one that was not reached has no times."""
    for record in records:
        found = record.measurements
        for length in lengths_of(record, "state_bytes_at_"):
            yield [
                md(model_of(record)),
                md(record.task or ""),
                f"{length:,}",
                link(record, short(found.get(f"latency_ms_at_{length}"))),
                short(found.get(f"latency_ms_one_per_call_at_{length}")),
                _bytes(found.get(f"state_bytes_at_{length}")),
                _measured(record),
            ]


def lengths_of(record: SpeedRecord, prefix: str) -> list[int]:
    """The lengths in the names of measurements that begin so, in their order."""
    return sorted(int(name.removeprefix(prefix)) for name in record.measurements if name.startswith(prefix))


def table(heads: Sequence[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table, or a word that there is nothing in it."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return NOTHING
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines])


def _get(record: SpeedRecord, name: str) -> float:
    return record.measurements[name] or 0.0


def activations(record: SpeedRecord) -> str:
    """Their precision; records from before the choice are of float32."""
    return "bf16" if record.measurements.get("activation_bits") == 16 else "float32"


def link(record: SpeedRecord, text: str, folder: str = RECORDS) -> str:
    """A number that leads to its record, in the folder as the page sees it."""
    return f"[{text}]({folder}/{record.name}.json)"


def _lines(texts: Iterable[str]) -> str:
    """Several in one cell."""
    return "<br>".join(texts) or "–"


def short(value: float | None) -> str:
    """Three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(theirs: float | None, ours: float | None) -> str:
    """How many times faster ours is."""
    return "–" if not (theirs and ours) else f"{theirs / ours:.2f}"


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.0e}"


def _bytes(value: float | None) -> str:
    return "–" if value is None else f"{value / 2**30:.3g} GiB" if value >= 2**29 else f"{value / 2**20:.3g} MiB"


def _measured(*records: SpeedRecord) -> str:
    """Device, version and commit of each record, those of the authors' code after ours."""
    texts = []
    for record in records:
        names = ("jax", "torch") if record.implementation else ("jax",)
        versions = [f"{n} {record.versions[n]}" for n in names if n in record.versions]
        commit = record.revision.commit[:7] + ("+dirty" if record.revision.dirty and not record.implementation else "")
        parts = [record.device.kind, *versions, commit, record.created[:10]]
        # The device is ours, and the commit is part of the implementation's name.
        texts.append(", ".join([*versions, record.created[:10]] if record.implementation else parts))
    return _lines(md(text) for text in texts)
