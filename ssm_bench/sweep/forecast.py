"""The missing cells of a plan and their expected times, from records; no data set is opened and no model is run."""

import contextlib
import math
import subprocess
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ssm_bench.bench.recording import of_recipe
from ssm_bench.config import leaves
from ssm_bench.data import cache
from ssm_bench.data.dataset import find
from ssm_bench.data.task import Task
from ssm_bench.errors import UserError
from ssm_bench.record import RunRecord, SpeedRecord, config_hash, run_name, store
from ssm_bench.report import speed
from ssm_bench.sweep import workers
from ssm_bench.sweep.cells import Cell
from ssm_bench.sweep.plan import Group
from ssm_bench.sweep.progress import duration
from ssm_bench.sweep.recipe import when_opened
from ssm_bench.sweep.schedule import schedule
from ssm_bench.training import provenance
from ssm_bench.training.identity import recipe
from ssm_bench.training.run import FINISHED, outdated


@dataclass(frozen=True)
class Device:
    """A platform, such as "gpu", and a kind, such as "NVIDIA H200"."""

    platform: str
    kind: str


#: A placeholder for the nodes of a cluster, or if costs do not matter.
UNKNOWN = Device("", "")


def here() -> Device:
    """The device that a sweep on this machine uses; for NVIDIA GPUs, JAX is not started."""
    if workers.gpus():
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.SubprocessError, IndexError):
            listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            return Device("gpu", listed.splitlines()[0].strip())
        return Device("gpu", "unknown")
    found = provenance.device()
    return Device(found["platform"], found["kind"])


@dataclass(frozen=True)
class Rate:
    """The cost of training and its source.

    Attributes:
        step: seconds per step, including evaluations.
        compiling: seconds of compilation.
        device: the device of the measurement.
        task: the task whose time was scaled to the size of this one; "": the time was measured on this task.
    """

    step: float
    compiling: float
    device: Device
    task: str = ""


@dataclass(frozen=True)
class Outlook:
    """The state and the expected time of a cell before it runs.

    Attributes:
        cell: the cell.
        status: ok, the worst status of its seeds, or "missing".
        done: the fraction of its steps that are done, in [0, 1].
        seconds: expected time of the remaining steps on one device that runs nothing else; None: unknown.
        device: the device of the measurement.
        scaled_from: the task of the measurement, if it differs from the task of the cell.
    """

    cell: Cell
    status: str
    done: float
    seconds: float | None
    device: Device | None
    scaled_from: str = ""

    @property
    def finished(self) -> bool:
        """Whether a sweep skips it."""
        return self.status in FINISHED


@dataclass(frozen=True)
class Forecast:
    """Expected times of cells, from records and the device that a sweep would use.

    Attributes:
        runs: all records of runs.
        speeds: all speed records.
        checkpoints: the folder of all checkpoints.
        here: the device of this machine.
    """

    runs: Sequence[RunRecord]
    speeds: Sequence[SpeedRecord]
    checkpoints: Path
    here: Device

    @classmethod
    def read(cls, results: Path, checkpoints: Path, here: Device) -> "Forecast":
        """Reads all records; unreadable ones are left out (`ssm-bench verify` lists them)."""
        bad: list[str] = []
        runs, speeds = store.read_all(results, skip=bad.append), store.read_all_speed(results, skip=bad.append)
        return cls(runs, speeds, checkpoints, here)

    def outlook(self, cell: Cell) -> Outlook:
        """The outlook of a cell.

        If the data set is prepared on this machine, only records of this version count; otherwise, records of all do.
        """
        assert cell.choices is not None
        config = cell.choices.config(cell)
        found = [self._record(config, seed) for seed in cell.seeds]
        left = [self._left(config, record) for record in found]
        unfinished = [steps for steps in left if steps]
        statuses = [record.status if record else "missing" for record in found]
        rate = self.rate(config)
        seconds = None
        if not unfinished:
            seconds = 0.0
        elif rate:
            seconds = rate.compiling + rate.step * sum(unfinished)
        return Outlook(
            cell=cell,
            status=next((status for status in statuses if status not in FINISHED), min(statuses)),
            done=1 - sum(left) / (config.train.steps * len(left)),
            seconds=seconds,
            device=rate.device if rate else None,
            scaled_from=rate.task if rate else "",
        )

    def finished(self, cell: Cell) -> list[RunRecord]:
        """The records of a cell that have an accuracy, at most one per seed, from any version of the code."""
        assert cell.choices is not None
        config = cell.choices.config(cell)
        found = [[run for run in self._records(config, seed) if run.status == "ok"] for seed in cell.seeds]
        return [max(of_seed, key=lambda run: run.created) for of_seed in found if of_seed]

    def _record(self, config: ConfigDict, seed: int) -> RunRecord | None:
        """The record of a run that a sweep would not repeat, finished ones first."""
        found = [run for run in self._records(config, seed) if not outdated(run)]
        return max(found, key=lambda run: (run.status in FINISHED, run.created), default=None)

    def _records(self, config: ConfigDict, seed: int) -> list[RunRecord]:
        """All records of a run."""
        hashes = {config_hash(recipe(each)) for each in when_opened(config)}
        place = config.preset, config.protocol, config.model.name, config.task.name, seed
        task = find(config.task.name)
        checksum = _checksum(task, config)
        return [
            run
            for run in self.runs
            if (run.preset, run.protocol, run.model.name, run.task.name, run.seed) == place
            and run.config_hash in hashes
            and checksum in (None, run.data.checksum)
            and not _superseded(task, run)
        ]

    def _left(self, config: ConfigDict, record: RunRecord | None) -> int:
        """The remaining steps of a run: all of them if its checkpoint is not on this machine."""
        if record and record.status in FINISHED:
            return 0
        if record and record.status == "partial":
            name = run_name(record.config_hash, record.data.checksum, record.together or [record.seed])
            if (self.checkpoints / record.preset / record.task.name / record.model.name / name).is_dir():
                return max(0, config.train.steps - record.steps.done)
        return config.train.steps

    def rate(self, config: ConfigDict) -> Rate | None:
        """The cost of a step of this configuration; None if no record of the model has one.

        Records of the same kind of device are preferred, then those of the same platform, then any. Among these, runs
        with an unshared device are preferred, then speed records (batches padded to one length), then runs that shared
        their device, whose time is an upper bound. Among the rest, runs with the same number of padded lengths are
        preferred, then the latest.
        """
        candidates: list[tuple[tuple, Rate]] = []
        opened = when_opened(config)[0]
        place, size = (config.model.name, config.task.name), _size(opened.to_dict())

        def add(
            record: RunRecord | SpeedRecord, rank: int, step: float, compiling: float | None, lengths: int = 1
        ) -> None:
            device = _device(record)
            near = device == self.here, device.platform == self.here.platform
            order = *near, rank, lengths == config.train.lengths, record.created
            candidates.append((order, Rate(step, compiling or 0.0, device)))

        for run in self.runs:
            step = _step_seconds(run)
            if step and (run.model.name, run.task.name) == place and _size(run.config) == size:
                lengths = leaves(run.config).get("train.lengths", 1)
                add(run, 2 if run.alone else 0, step, run.cost.seconds_compile, lengths)
        if config.preset != "quick":
            for record in speed.own_steps(self.speeds):
                if of_recipe(record, opened) and (milliseconds := record.value("step_ms")):
                    add(record, 1, milliseconds / 1000, record.value("compile_seconds"))
        return max(candidates, key=lambda candidate: candidate[0])[1] if candidates else self._scaled(config)

    def _scaled(self, config: ConfigDict) -> Rate | None:
        """The cost of a step, scaled in proportion to its size from the run of the model with the nearest size.

        Most steps are limited by memory traffic, which grows with positions x layers x width. The products of wide
        layers and softmax attention over long sequences grow faster: their times are underestimated from smaller runs.
        """
        if config.preset == "quick":
            return None
        size = _positions(when_opened(config)[0].to_dict())
        candidates: list[tuple[tuple, Rate]] = []
        for run in self.runs:
            step, device = _step_seconds(run), _device(run)
            # Times on a CPU do not predict times on a GPU, and full-size models are not trained on CPUs.
            full_size = run.preset != "quick" and device.platform != "cpu"
            if step and full_size and run.model.name == config.model.name:
                factor = size / _positions(run.config)
                rate = Rate(factor * step, run.cost.seconds_compile or 0.0, device, run.task.name)
                order = device.platform == self.here.platform, device == self.here, run.alone, -abs(math.log(factor))
                candidates.append((order, rate))
        return max(candidates, key=lambda candidate: candidate[0])[1] if candidates else None

    def planned(
        self, groups: Iterable[Group], models: Container[str] = (), tasks: Container[str] = ()
    ) -> list[tuple[Group, Outlook]]:
        """The cells in the order in which to start them: in a group, interrupted cells first, then from the longest.

        Args:
            groups: groups of cells, in order.
            models: only these models; empty: all.
            tasks: only these tasks; empty: all.
        """
        found = []
        for group in groups:
            seeds = {seed: place for place, seed in enumerate(group.seeds)}
            outlooks = [
                self.outlook(cell)
                for cell in group.cells
                if (not models or cell.model in models) and (not tasks or cell.task in tasks)
            ]
            outlooks.sort(
                key=lambda one, seeds=seeds: (
                    seeds[one.cell.seed],
                    one.status != "partial",
                    -float("inf") if one.seconds is None else -one.seconds,
                )
            )
            found += [(group, one) for one in outlooks]
        return found

    def timed(self, group: Group, one: Outlook, crowd: int) -> Cell:
        """A cell with the time that it needs before a deadline; zero if this is unknown, or if `resume` is set.

        Args:
            group: the group of the cell.
            one: its outlook.
            crowd: number of cells that share a device; in the worst case, they take turns.
        """
        measured = one.device is not None and one.device.platform == self.here.platform and not one.scaled_from
        if one.finished or group.resume or not measured or one.seconds is None:
            return one.cell
        return replace(one.cell, seconds=one.seconds * crowd)


def _device(record: RunRecord | SpeedRecord) -> Device:
    """The device of a record."""
    return Device(record.device.platform, record.device.kind)


def _step_seconds(run: RunRecord) -> float | None:
    """Seconds per training step of a run, evaluations included; None if it has no times."""
    if not (run.steps.done and run.cost.seconds_train):
        return None
    return (run.cost.seconds_train + (run.cost.seconds_evaluate or 0.0)) / run.steps.done


def _superseded(task: Task, run: RunRecord) -> bool:
    """Whether a run used an earlier version of a generated data set."""
    return run.data.kind == "generated" and task.fetch_identity not in ("", run.data.identity)


def _checksum(task: Task, config: ConfigDict) -> str | None:
    """The checksum of the prepared data set that a run would open; None if it is not prepared yet."""
    prepared = cache.prepared(task, task.tokens(config.task.tokens))
    if config.task.data != "real" or not prepared:
        return None
    kind, folder = prepared[0]
    try:
        card = cache.read_card(folder)
    except UserError:
        return None
    superseded = kind == "generated" and task.fetch_identity not in ("", card["identity"])
    return None if superseded else card["checksum"]


#: Settings that affect the cost of a step, with their values in records from before the setting existed.
SIZE = {
    "model.mixer": "",
    "model.scaffold": "",
    "model.d_model": 0,
    "model.layers": 0,
    "model.precision": "float32",
    "task.max_length": 0,
    "train.batch_size": 0,
    "train.accumulate": 1,
    "train.segment": 0,
}


def _size(config: dict[str, Any]) -> list[Any]:
    settings = leaves(config)
    return [settings.get(name, default) for name, default in SIZE.items()]


def _positions(config: dict[str, Any]) -> float:
    """Positions of a batch x layers x width."""
    settings = leaves(config)
    names = "task.max_length", "train.batch_size", "model.layers", "model.d_model"
    return find(settings["task.name"]).spec.documents * math.prod(settings[name] for name in names)


HEADS = ("group", "model", "task", "preset", "share", "precision", "seeds", "status", "done", "expected")


def report(planned: Sequence[tuple[Group, Outlook]], devices: Sequence[int] = ()) -> str:
    """A plain table of the cells with their expected times and the total, optionally also for several devices."""
    rows: list[tuple[str, ...]] = [HEADS]
    for group, one in planned:
        expected = "unknown" if one.seconds is None else duration(one.seconds)
        source = f"{f'scaled from {one.scaled_from}, ' * bool(one.scaled_from)}{one.device.kind}" if one.device else ""
        rows.append(
            (
                group.group,
                one.cell.model,
                one.cell.task,
                group.preset,
                "" if group.share is None else f"{group.share:g}",
                group.precision,
                ",".join(map(str, one.cell.seeds)),
                one.status,
                f"{100 * one.done:.0f} %",
                "-" if one.finished else f"{expected}{f' ({source})' if source else ''}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left = [one for _, one in planned if not one.finished]
    known = [one.seconds for one in left if one.seconds is not None]
    total = f"{len(planned)} cells: {len(planned) - len(left)} finished, {len(left)} left"
    if left:
        scaled = sum(bool(one.scaled_from) for one in left)
        times = f"take {duration(sum(known))} of one device{f' ({scaled} scaled from other tasks)' * bool(scaled)}"
        total += f"; {len(known)} of these {times}, {len(left) - len(known)} unknown"
    schedules = [schedule(known, count).sentence() for count in devices] if known else []
    return "\n".join([*lines, total, *schedules])
