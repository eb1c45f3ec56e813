"""What the page shows, as plain values: records by their paths, the cells of each table, measured steps, analyses."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, SpeedRecord, peer, store
from ssm_bench.record.peer import PeerRecord
from ssm_bench.report import findings, layout, peers, publish, speed
from ssm_bench.report.aggregate import at_chance, learning_curve, precision, share
from ssm_bench.report.table import Table, build, kinds

#: Columns of analyses that no chart of the page shows.
NOT_DRAWN = ["A", "B"]

#: Samples of a signal over time that a panel shows.
SAMPLES = 256

#: Digits of what is drawn: more than a screen shows.
DIGITS = 4


@dataclass(frozen=True)
class Results:
    """Everything under a folder of results that the page shows.

    Attributes:
        tables: of the runs.
        runs: all runs, in the order of the tables.
        speeds: all speed records.
        peers: what the authors' own code reached, by model, task and checksum of the data.
        analyses: name of a table of `ssm-bench analyze` -> the table.
        figures: the names of the figures of these analyses.
        bad: a sentence on each file that was left out.
        headline: the best result of each task, in a paragraph; empty without the comparison table.
    """

    tables: list[Table]
    runs: list[RunRecord]
    speeds: list[SpeedRecord]
    peers: dict[tuple[str, str, str], PeerRecord]
    analyses: dict[str, pd.DataFrame]
    figures: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    headline: str = ""


def read(root: Path | str) -> Results:
    """Reads all results; a bad file is left out and named. A folder without any is no error."""
    bad: list[str] = []
    runs = store.read_all(root, skip=bad.append)
    order = {name: place for place, name in enumerate(layout.models(runs))}
    tasks = list(layout.tasks(runs))
    runs.sort(key=lambda run: (order[run.model.name], tasks.index(run.task.name), run.preset))
    found = {}
    try:
        tables = publish.tables(root, records=runs)
        for checksum in sorted({run.data.checksum for run in runs}):
            found |= {(*cell, checksum): record for cell, record in peers.values(root, checksum).items()}
    except UserError as error:
        # One bad record of the authors' code: the tables of our runs are shown without theirs.
        bad.append(str(error))
        tables = [build(runs, *kind) for kind in kinds(runs)]
    # The combined table first, then those of other presets.
    tables.sort(key=lambda table: (table.kind != layout.TABLE, table.name))
    speeds = store.read_all_speed(root, skip=bad.append)
    figures = [path.name for path in sorted(layout.analyses_of(root).glob("*.svg"))]
    shown = publish.comparison(tables)
    headline = findings.headline(shown, len(findings.parametrizations(root))) if shown else ""
    return Results(tables, runs, speeds, found, _analyses(root, bad), figures, bad, headline)


def _analyses(root: Path | str, bad: list[str]) -> dict[str, pd.DataFrame]:
    found = {}
    for path in sorted(layout.analyses_of(root).glob("*.csv")):
        try:
            found[path.stem] = pd.read_csv(path)
        except (OSError, ValueError) as error:
            bad.append(f"{path}: not readable as CSV: {error}")
    return found


def run_place(run: RunRecord) -> str:
    """The path of a run's record in the folder of results; by it the page knows the run."""
    return store.home(run, "").as_posix()


def speed_place(record: SpeedRecord) -> str:
    """The same of a speed record."""
    return store.speed_home(record, "").as_posix()


def peer_place(record: PeerRecord) -> str:
    """The same of a record of the authors' own code."""
    return peer.home(record, "").as_posix()


def plain(results: Results) -> dict[str, Any]:
    """Everything that the script of the page draws or opens, ready for JSON."""
    titles = layout.models(results.runs)
    records = {run_place(run): _run(run) for run in results.runs}
    records |= {speed_place(record): _speed(record) for record in results.speeds}
    records |= {peer_place(record): _peer(record, titles) for record in results.peers.values()}
    return {
        "records": records,
        "tables": [_table(table) for table in results.tables],
        "steps": steps(results.speeds, titles),
        "along": _along(results.speeds, titles),
        "analyses": {name: _analysis(frame, set(records)) for name, frame in results.analyses.items()},
    }


def _run(run: RunRecord) -> dict[str, Any]:
    result, steps = run.result, run.steps.published or run.steps.planned
    return {
        "kind": "run",
        "title": f"{run.model.title} on {run.task.title}",
        "model": run.model.name,
        "task": run.task.name,
        "status": run.status,
        "message": run.message,
        "notes": run.notes,
        "preset": run.preset,
        "protocol": run.protocol,
        "seed": run.seed,
        "share": share([run]),
        "steps": [run.steps.done, run.steps.planned, run.steps.published],
        "test": None if result is None else 100 * result.test_accuracy,
        "validation": None
        if result is None or result.validation_accuracy is None
        else 100 * result.validation_accuracy,
        "best_step": None if result is None else result.best_step,
        "chance": 100 / run.task.classes,
        "at_chance": at_chance(run),
        "curve": _rounded(learning_curve(run)),
        "training": _rounded(
            [(100 * p.step / steps, 100 * p.train_accuracy) for p in run.curve if p.train_accuracy is not None]
        ),
        "differences": {name: value for name, value in run.differences.items() if name not in IN_OTHER_FIELDS},
        "data": [run.data.identity, run.data.kind, run.data.checksum[:12], *run.data.notes],
        "seconds": run.cost.seconds_train,
        "memory": run.cost.peak_memory_bytes,
        "alone": run.alone,
        "parameters": run.model.parameters,
        "state": run.model.state_size,
        "precision": precision(run),
        **_made(run),
    }


#: Settings that stand in a line of their own.
IN_OTHER_FIELDS = {"seed", "preset", "protocol", "model.name", "task.name", "train.steps", "train.published_steps"}


def _peer(record: PeerRecord, titles: dict[str, str]) -> dict[str, Any]:
    steps, task = record.steps, layout.TASKS.get(record.task, record.task)
    return {
        "kind": "peer",
        "title": f"{record.implementation}: {titles.get(record.model, record.model)} on {task}",
        "status": record.status,
        "notes": record.notes,
        "protocol": record.protocol,
        "seed": record.seed,
        "share": steps.done / steps.published if steps.published else None,
        "steps": [steps.done, steps.planned, steps.published],
        "test": 100 * record.result.test_accuracy if record.result else None,
        "differences": record.recipe,
        "data": [record.data.identity, record.data.kind, record.data.checksum[:12], *record.data.notes],
        "seconds": record.cost.seconds_train,
        **_made(record),
    }


def _speed(record: SpeedRecord) -> dict[str, Any]:
    return {
        "kind": "speed",
        "title": " ".join(filter(None, [record.benchmark, record.operation or record.model, record.task])),
        "implementation": record.implementation,
        "differences": record.overrides,
        "sizes": record.sizes,
        "measurements": [[m.metric, m.backend, m.shape, m.value] for m in record.measurements],
        "runs": record.runs,
        "notes": record.notes,
        **_made(record),
    }


def _made(record: RunRecord | SpeedRecord | PeerRecord) -> dict[str, Any]:
    """Where, when and with what a record was made."""
    return {
        "device": f"{record.device.count} x {record.device.kind}",
        "shared": record.device.shared,
        "revision": record.revision.commit,
        "dirty": record.revision.dirty,
        "versions": record.versions,
        "created": record.created,
    }


def _table(table: Table) -> dict[str, Any]:
    """The cells of a table that have runs, for the charts."""
    cells = [
        {
            "model": entry.model,
            "task": entry.task,
            "accuracy": entry.accuracy,
            "interval": entry.interval,
            "young": entry.young,
            "alone": entry.cell.alone,
            "seconds": entry.cell.device_seconds,
            "parameters": entry.cell.runs[0].model.parameters,
            "state": entry.cell.runs[0].model.state_size,
            "runs": [run_place(run) for run in entry.cell.runs],
        }
        for entry in table.entries.values()
        if entry.cell
    ]
    kinds = {task: sorted({cell.runs[0].data.kind for _, cell in table.cells(task)}) for task in table.tasks}
    return {
        "name": table.name,
        "title": table.title,
        "tasks": table.tasks,
        "kinds": {task: "/".join(found) for task, found in kinds.items() if found != ["official"]},
        "models": {name: title for name, title in table.rows.items() if any(c["model"] == name for c in cells)},
        "colored": [name for name, title in table.rows.items() if title in layout.TABLE_TWO],
        "cells": cells,
    }


def steps(records: Sequence[SpeedRecord], titles: dict[str, str]) -> list[dict[str, Any]]:
    """Our measured training steps, each with its floor and each step of the authors' code it can be compared with."""
    return [
        {
            "model": record.model,
            "title": _titled(record, titles),
            "task": record.task,
            "precision": speed.activations(record),
            "one_way": record.sizes.get("directions") == 1,
            "batch": record.sizes.get("batch_size"),
            "length": record.sizes.get("length"),
            "device": record.device.kind,
            "ms": record.value("step_ms"),
            "floor": speed.step_floor(record),
            "record": speed_place(record),
            "peers": [
                {
                    "ms": speed.fastest_step(other),
                    "implementation": other.implementation,
                    "precision": speed.activations(other),
                    "record": speed_place(other),
                }
                for other in speed.peers(record, records)
            ],
        }
        for record in speed.own_steps(records)
    ]


def _titled(record: SpeedRecord, titles: dict[str, str]) -> str:
    """The title of the model, with the settings that differ from its published ones."""
    name = record.model or ""
    return titles.get(name, name) + speed.model_of(record).removeprefix(name)


def _along(records: Sequence[SpeedRecord], titles: dict[str, str]) -> list[dict[str, Any]]:
    """Times against the length of the input, or the position in a stream: a line for each record."""
    kinds = {"length": "step_ms", "stream": "latency_ms"}
    return [
        {
            "benchmark": record.benchmark,
            "title": _titled(record, titles),
            "model": record.model,
            "device": record.device.kind,
            "record": speed_place(record),
            "points": [
                [shape[0], value]
                for shape in record.shapes(kinds[record.benchmark])
                if (value := record.value(kinds[record.benchmark], shape=shape))
            ],
        }
        for record in records
        if record.benchmark in kinds
    ]


def places(row: Mapping[str, Any], known: Container[str]) -> list[str]:
    """The records behind a row of an experiment that the page can open; tables of older versions name none."""
    return [place for place in str(row.get("records", "")).split() if place in known]


def _analysis(frame: pd.DataFrame, known: Container[str]) -> dict[str, list]:
    """One table of `ssm-bench analyze` by columns, as its charts need it."""
    frame = frame.drop(columns=NOT_DRAWN, errors="ignore")
    if "signal" in frame:
        frame = frame.iloc[:: math.ceil(len(frame) / SAMPLES) or 1]
    columns = _columns(frame)
    if "records" in columns:
        columns["records"] = [places({"records": text}, known) for text in columns["records"]]
    return columns


def _columns(frame: pd.DataFrame) -> dict[str, list]:
    """Columns of a table, numbers in the digits that are drawn; gaps and infinities are null."""
    return {str(name): [_significant(value) for value in frame[name].tolist()] for name in frame.columns}


def _significant(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _rounded(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, DIGITS), round(y, DIGITS)] for x, y in points]
