"""The tables of docs/performance.md, from speed records: our times, the floor and the authors' times."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ssm_bench.record import SpeedRecord
from ssm_bench.report import floor
from ssm_bench.report.render import md

#: The folder of the records, relative to the page.
RECORDS = "../results/speed"

NOTHING = "No record yet."


def blocks(records: Iterable[SpeedRecord]) -> dict[str, str]:
    """Name of a table -> its text."""
    records = sorted(records, key=lambda record: record.name)
    return {
        "speed-steps": table(STEP_HEADS, _steps(records)),
        "speed-epochs": table(EPOCH_HEADS, _epochs(records)),
        "speed-backends": table(COMPARE_HEADS, _compared(records)),
        "speed-operations": table(OPERATION_HEADS, _operations(records)),
        "speed-lengths": table(LENGTH_HEADS, _lengths(records)),
        "speed-segments": table(SEGMENT_HEADS, _segments(records)),
        "speed-streams": table(STREAM_HEADS, _streams(records)),
        "speed-compile": table(COMPILE_HEADS, _compiled(records)),
    }


STEP_HEADS = (
    *("Model", "Task", "Batch x length", "Activations", "ms a step", "Floor, ms", "Peak memory"),
    *("Authors' code, ms", "Times faster", "Authors' peak memory", "Measured"),
)


#: Sizes that must be equal to compare a step of the authors' code with ours, and sizes that its record may lack.
SAME = ("batch_size", "length", "directions")
SAME_IF_KNOWN = ("layers", "d_model")

#: The setting that has its own column in tables.
PRECISION = "config.model.precision"

#: Settings that may differ from our recipe if a step is compared with the authors' code: tables show the precision, and
#: the authors' LRU is unidirectional, with the full GLU.
COMPARABLE = (PRECISION, "config.mixer.bidirectional")
FULL_GLU = ("config.scaffold.activation", "glu")


def _steps(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each of our steps, with the peers of the same model, task, sizes and device."""
    for record in own_steps(records):
        sizes, milliseconds = record.sizes, record.value("step_ms")
        their_records = peers(record, records)
        size = f"{sizes.get('batch_size')} x {sizes.get('length')}"
        yield [
            md(model_of(record)),
            md(record.task or ""),
            f"{size}, one way" if sizes.get("directions") == 1 else size,
            activations(record),
            link(record, short(milliseconds)),
            short(step_floor(record)),
            _bytes(record.value("peak_bytes")),
            _lines(
                f"{link(peer, short(fastest_step(peer)))} {md(peer.implementation)}, {activations(peer)}"
                for peer in their_records
            ),
            _lines(ratio(fastest_step(peer), milliseconds) for peer in their_records),
            _lines(_bytes(peer.value("peak_bytes")) for peer in their_records),
            _measured(record, *their_records),
        ]


def own_steps(records: Sequence[SpeedRecord]) -> list[SpeedRecord]:
    """The steps of our models, of one seed."""
    return [
        record
        for record in records
        if record.benchmark == "step" and not record.implementation and record.value("step_ms") is not None
    ]


def step_floor(record: SpeedRecord) -> float | None:
    """The floor of one of our steps in milliseconds; None for an unknown device or unknown sizes."""
    milliseconds, rate = record.value("step_ms"), record.value("tokens_per_second")
    if not (milliseconds and rate and {"layers", "d_model"} <= record.sizes.keys()):
        return None
    return floor.step_ms(
        record.device.kind,
        tokens=rate * milliseconds / 1000,
        width=record.sizes["d_model"],
        layers=record.sizes["layers"],
        bits=record.sizes.get("activation_bits", 32),
    )


def peers(record: SpeedRecord, records: Sequence[SpeedRecord]) -> list[SpeedRecord]:
    """Steps of the authors' code to compare with one of our records: same model, task, sizes and device."""
    ours = record.sizes
    if any(name not in COMPARABLE and (name, value) != FULL_GLU for name, value in record.overrides.items()):
        return []
    return [
        peer
        for peer in records
        if peer.implementation
        and peer.benchmark == "step"
        and peer.value("step_ms")
        and (peer.model, peer.task, peer.device.kind) == (record.model, record.task, record.device.kind)
        and all(peer.sizes.get(size) == ours.get(size) for size in SAME)
        and all(peer.sizes.get(size) in (None, ours.get(size)) for size in SAME_IF_KNOWN)
    ]


def model_of(record: SpeedRecord) -> str:
    """The model of a record, with the settings that differ from its published ones, except for precision."""
    changed = [f"--{name}={value}" for name, value in record.overrides.items() if name != PRECISION]
    return ", ".join([record.model or "", *changed])


def fastest_step(peer: SpeedRecord) -> float:
    """Milliseconds of a step of the authors' code: the faster of steps launched several at a time and one by one."""
    times = (peer.value("step_ms"), peer.value("step_ms_one_per_call"))
    return min(time for time in times if time)


EPOCH_HEADS = (
    *("Model", "Task", "Batch", "Padded lengths", "Share of the full length", "Activations", "Sequences a second"),
    *("Authors' code, all padded", "Times faster", "Measured"),
)


def _epochs(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each epoch over real data; the authors' code pads every batch to the full length, as in its step."""
    for record in records:
        if record.benchmark != "epoch":
            continue
        their_records, ours = peers(record, records), record.value("sequences_per_second")
        theirs = [1000 * peer.sizes.get("batch_size", 0) / fastest_step(peer) for peer in their_records]
        yield [
            md(model_of(record)),
            md(record.task or ""),
            f"{record.sizes.get('batch_size')}",
            f"{record.value('lengths')}",
            short(record.value("padded_share")),
            activations(record),
            link(record, short(ours)),
            _lines(
                f"{link(peer, short(rate))} {md(peer.implementation)}, {activations(peer)}"
                for peer, rate in zip(their_records, theirs, strict=True)
            ),
            _lines(ratio(ours, rate) for rate in theirs),
            _measured(record, *their_records),
        ]


COMPARE_HEADS = (
    *("Model", "Task", "Batch x length", "Activations", "Backend", "ms a step", "Temporary memory"),
    *("Times faster than the reference", "Measured"),
)


def _compared(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each backend of each `bench compare`."""
    for record in records:
        if record.benchmark != "compare":
            continue
        # The reference has no `times_faster` and comes last.
        faster = record.backends("times_faster")
        for backend in sorted(record.backends("step_ms"), key=lambda name: name not in faster):
            yield [
                md(model_of(record)),
                md(record.task or ""),
                f"{record.sizes.get('batch_size')} x {record.sizes.get('length')}",
                activations(record),
                md(backend),
                link(record, short(record.value("step_ms", backend=backend))),
                _bytes(record.value("temporary_bytes", backend=backend)),
                short(record.value("times_faster", backend=backend)),
                _measured(record),
            ]


OPERATION_HEADS = (
    *("Operation", "Shape", "Backend", "Forward, ms", "Floor", "With gradients, ms", "Floor", "Temporary memory"),
    *("With outputs", "Error", "Error of gradients", "Times faster than associative", "Authors' code, ms"),
    *("Times faster", "Authors' memory", "Measured"),
)


@dataclass(frozen=True)
class Variant:
    """Measurements of one backend of an operation at one shape."""

    record: SpeedRecord
    backend: str
    shape: tuple[int, ...]

    def __getitem__(self, metric: str) -> float | None:
        return self.record.value(metric, backend=self.backend, shape=self.shape)

    def floor(self, *, backward: bool) -> float | None:
        """The floor in milliseconds, forward or with gradients; None for an unknown device."""
        kind, operation = self.record.device.kind, self.record.operation
        return floor.operation_ms(kind, operation, self.shape, backward=backward)


def operations(records: Sequence[SpeedRecord]) -> Iterator[tuple[Variant, list[Variant]]]:
    """Each of our backends at each shape, with those of the authors' code at the same shape on the same device."""
    variants = [variant for record in records if record.operation for variant in _variants(record)]
    for ours in variants:
        if ours.record.implementation:
            continue
        same = (ours.record.operation, ours.record.device.kind, ours.shape)
        yield (
            ours,
            [
                other
                for other in variants
                if other.record.implementation
                and (other.record.operation, other.record.device.kind, other.shape) == same
            ],
        )


def _operations(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each of our backends at each shape, with the authors' times of the same shape and device."""
    for ours, theirs in operations(records):
        record = ours.record
        reference = Variant(record, "associative", ours.shape)
        yield [
            md(record.operation),
            "x".join(map(str, ours.shape)),
            md(ours.backend),
            link(record, short(ours["forward_ms"])),
            short(ours.floor(backward=False)),
            short(ours["forward_backward_ms"]),
            short(ours.floor(backward=True)),
            _bytes(ours["temporary_bytes"]),
            _bytes(_with_outputs(ours)),
            _error(ours["value_error"]),
            _error(ours["gradient_error"]),
            _ratios(reference, ours) if ours.backend != "associative" else "–",
            _lines(
                link(peer.record, f"{short(peer['forward_ms'])} / {short(peer['forward_backward_ms'])}")
                + f" {md(peer.record.implementation)}"
                for peer in theirs
            ),
            _lines(_ratios(peer, ours) for peer in theirs),
            _lines(_bytes(peer["temporary_bytes"]) for peer in theirs),
            _measured(record, *(peer.record for peer in theirs)),
        ]


def _with_outputs(variant: Variant) -> float | None:
    """The memory that a program needs in addition to its inputs; older records lack it."""
    temporary, outputs = variant["temporary_bytes"], variant["output_bytes"]
    return None if temporary is None or outputs is None else temporary + outputs


def _ratios(theirs: Variant, ours: Variant) -> str:
    """The speedup of our code, forward / with gradients; a dash if the authors' code has no time."""
    times = ("forward_ms", "forward_backward_ms")
    if not any(theirs[what] for what in times):
        return "–"
    return " / ".join(ratio(theirs[what], ours[what]) for what in times)


def _variants(record: SpeedRecord) -> list[Variant]:
    """Every backend at every shape of a record, in the order of the sizes."""
    found = {(tuple(m.shape), m.backend) for m in record.measurements if m.shape and m.backend}
    return [Variant(record, backend, shape) for shape, backend in sorted(found)]


LENGTH_HEADS = (
    *("Model", "Task", "Activations", "Tokens a batch", "Length", "Batch", "ms a step", "Tokens a second"),
    *("Temporary memory", "Measured"),
)


def _lengths(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each length of each `bench length`."""
    for record in records:
        if record.benchmark != "length":
            continue
        for shape in record.shapes("step_ms"):
            yield [
                md(model_of(record)),
                md(record.task or ""),
                activations(record),
                f"{record.sizes.get('tokens') or '–'}",
                f"{shape[0]}",
                f"{record.value('batch_size', shape=shape)}",
                link(record, short(record.value("step_ms", shape=shape))),
                short(record.value("tokens_per_second", shape=shape)),
                _bytes(record.value("temporary_bytes", shape=shape)),
                _measured(record),
            ]


SEGMENT_HEADS = (
    *("Model", "Task", "Activations", "Length", "Segment", "ms a step", "Tokens a second"),
    *("Temporary memory", "Measured"),
)


def whole(record: SpeedRecord) -> str:
    """How `bench segments` computed whole sequences: "whole", with the number of devices if there were several."""
    return "whole" if record.device.count == 1 else f"whole, {record.device.count} devices"


def _segments(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each length of each `bench segments`, in segments and at once; one that did not fit has no time."""
    for record in records:
        if record.benchmark != "segments":
            continue
        for shape in record.shapes("temporary_bytes"):
            length, *segment = shape
            yield [
                md(model_of(record)),
                md(record.task or ""),
                activations(record),
                f"{length:,}",
                f"{segment[0]:,}" if segment else whole(record),
                link(record, short(record.value("step_ms", shape=shape))),
                short(record.value("tokens_per_second", shape=shape)),
                _bytes(record.value("temporary_bytes", shape=shape)),
                _measured(record),
            ]


STREAM_HEADS = ("Model", "Task", "Position", "ms a token", "ms, one a call", "State", "Measured")


def _streams(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each position of each `bench stream`; positions that were not reached have no times."""
    for record in records:
        if record.benchmark != "stream":
            continue
        for shape in record.shapes("state_bytes"):
            yield [
                md(model_of(record)),
                md(record.task or ""),
                f"{shape[0]:,}",
                link(record, short(record.value("latency_ms", shape=shape))),
                short(record.value("latency_ms_one_per_call", shape=shape)),
                _bytes(record.value("state_bytes", shape=shape)),
                _measured(record),
            ]


COMPILE_HEADS = (
    *("Model", "Task", "Batch x length", "Padded lengths", "Activations", "Initial values, s"),
    *("Training program: trace + lower + compile, s", "CPU s", "Instructions", "With one length alone, s"),
    *("Batch statistics, s", "Evaluation, s", "ms a step", "CPU ms a step", "Measured"),
)


def _compiled(records: Sequence[SpeedRecord]) -> Iterator[list[str]]:
    """A row for each `bench compile`."""
    stages = ("trace_seconds", "lower_seconds", "compile_seconds")

    def seconds(record: SpeedRecord, program: str, shape: Sequence[int] = ()) -> float | None:
        found = [record.value(f"{program}_{stage}", shape=shape) for stage in stages]
        return None if None in found else sum(each for each in found if each)

    for record in records:
        if record.benchmark != "compile":
            continue
        alone = [(shape, seconds(record, "train", shape)) for shape in record.shapes("train_compile_seconds")]
        scores = [seconds(record, "score", shape) or 0 for shape in record.shapes("score_compile_seconds")]
        training = [short(record.value(f"train_{stage}")) for stage in stages]
        yield [
            md(model_of(record)),
            md(record.task or ""),
            f"{record.sizes.get('batch_size')} x {record.sizes.get('length')}",
            f"{record.value('lengths')}",
            activations(record),
            short(record.value("initial_seconds")),
            link(record, " + ".join(training)),
            short(record.value("train_cpu_seconds")),
            short(record.value("train_instructions")),
            _lines(f"{shape[0]}: {short(each)}" for shape, each in alone),
            short(seconds(record, "statistics")),
            short(sum(scores)),
            short(record.value("step_ms")),
            short(record.value("step_cpu_ms")),
            _measured(record),
        ]


def table(heads: Sequence[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table, or a text that there are no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return NOTHING
    return "\n".join([f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *lines])


def activations(record: SpeedRecord) -> str:
    """The precision of the activations; early records, which lack it, are of float32."""
    return "bf16" if record.sizes.get("activation_bits") == 16 else "float32"


def link(record: SpeedRecord, text: str, folder: str = RECORDS) -> str:
    """A number with a link to its record."""
    return f"[{text}]({folder}/{record.name}.json)"


def _lines(texts: Iterable[str]) -> str:
    """Joins several lines in one cell."""
    return "<br>".join(texts) or "–"


def short(value: float | None) -> str:
    """A number with three digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(theirs: float | None, ours: float | None) -> str:
    """The speedup of our code over the authors' code."""
    return "–" if not (theirs and ours) else f"{theirs / ours:.2f}"


def _error(value: float | None) -> str:
    return "–" if value is None else f"{value:.0e}"


def _bytes(value: float | None) -> str:
    return "–" if value is None else f"{value / 2**30:.3g} GiB" if value >= 2**29 else f"{value / 2**20:.3g} MiB"


def _measured(*records: SpeedRecord) -> str:
    """Device, versions and commit of each record, followed by those of the authors' code."""
    texts = []
    for record in records:
        names = ("jax", "torch") if record.implementation else ("jax",)
        versions = [f"{n} {record.versions[n]}" for n in names if n in record.versions]
        commit = record.revision.commit[:7] + ("+dirty" if record.revision.dirty and not record.implementation else "")
        parts = [record.device.kind, *versions, commit, record.created[:10]]
        # The device is ours, and the commit is part of the implementation's name.
        texts.append(", ".join([*versions, record.created[:10]] if record.implementation else parts))
    return _lines(md(text) for text in texts)
