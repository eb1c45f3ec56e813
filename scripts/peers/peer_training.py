"""Trains the authors' own code on our prepared data: the loop, its checkpoints, and the record."""

import hashlib
import json
import math
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import timing
from clones import Repository
from feed import Batch, Feed
from timing import Cell

from ssm_bench import __version__
from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.record import peer
from ssm_bench.record.peer import PeerRecord
from ssm_bench.training import provenance
from ssm_bench.training.recording import data_part
from ssm_bench.training.stop import Stop

#: Steps between two looks at the clock; chunks also end with an epoch and with the warm-up.
CHUNK = 50
#: Seconds between two checkpoints, and between two lines of progress.
SAVE_SECONDS, SAY_SECONDS = 120.0, 15.0


class Trainee(Protocol):
    """A model of the authors with their training step, in one framework."""

    #: The arguments that the authors' code was given.
    recipe: Mapping[str, Any]
    #: Where the run differs from how the authors run it.
    notes: Sequence[str]

    def train(self, batches: Iterable[Batch], first: int) -> float:
        """Takes a step for each batch, of which the first is step `first`; returns the mean loss."""
        ...

    def evaluate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Returns the mean loss and the accuracy."""
        ...

    def dump(self) -> bytes:
        """Parameters, statistics and optimizer state."""
        ...

    def restore(self, state: bytes) -> None:
        """Takes over what `dump` returned."""
        ...

    def peak_bytes(self) -> int | None:
        """The most device memory in use so far; None where it is unknown."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How long to train.

    Attributes:
        steps: to take.
        warmup: of those, with a rising rate.
        published: steps of the published recipe.
    """

    steps: int
    warmup: int
    published: int

    @classmethod
    def of(cls, cell: Cell, share: float) -> "Schedule":
        """A share of the published schedule; the warm-up keeps its steps where they are at most a tenth of the run."""
        published = int(cell.config.train.published_steps)
        steps, warmup = max(1, round(share * published)), round(cell.config.optimizer.warmup * published)
        return cls(steps, warmup if share == 1 else min(warmup, steps // 10), published)


@dataclass
class Progress:
    """What a checkpoint says of a run besides the arrays; plain JSON."""

    step: int = 0
    #: Sum and number of the losses since the last evaluation.
    losses: list[float] = field(default_factory=lambda: [0.0, 0])
    curve: list[dict] = field(default_factory=list)
    #: The best evaluation, a point of the curve.
    best: dict | None = None
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "compile": 0.0, "evaluate": 0.0})
    #: What `part` says of the processes that trained, each once.
    parts: list[dict] = field(default_factory=list)


class Checkpoints:
    """The folder of one run: `step-<number>/` with the state, the best state and the progress, the newest one kept.

    Args:
        folder: of this run alone.
        identity: what the run is; a checkpoint of another run is refused.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        self.folder, self.identity = folder, dict(identity)

    def save(self, progress: Progress, state: bytes, best: bytes) -> None:
        """Writes a checkpoint, atomically, and removes the one before.

        Raises:
            UserError: it cannot be written.
        """
        files = {"state": state, "best": best}
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        told = {"identity": self.identity, "sha256": sums, "progress": vars(progress)}
        target = self.folder / f"step-{progress.step:09d}"
        temporary = self.folder / f".{target.name}.{os.getpid()}"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name, content in files.items() | {("progress.json", json.dumps(told).encode())}:
                with (temporary / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(f"cannot write a checkpoint to {self.folder}: {error.strerror}") from error
        for other in self._steps():
            if other != target:
                shutil.rmtree(other, ignore_errors=True)

    def restore(self) -> tuple[Progress, bytes, bytes] | None:
        """The newest checkpoint: progress, state, best state; None where there is none.

        Raises:
            UserError: it is damaged, or of another run.
        """
        if not (steps := self._steps()):
            return None
        newest = steps[-1]
        try:
            told = json.loads((newest / "progress.json").read_text(encoding="utf-8"))
            state, best = (newest / "state").read_bytes(), (newest / "best").read_bytes()
            sums = [hashlib.sha256(content).hexdigest() for content in (state, best)]
            if sums != [told["sha256"]["state"], told["sha256"]["best"]]:
                raise ValueError("a file has changed since it was written")
            progress, identity = Progress(**told["progress"]), told["identity"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"the checkpoint {newest} is damaged ({error}); delete it to start again") from error
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise UserError(
                    f"the checkpoint {newest} is of another run: its {name} is {identity.get(name)!r}, not {value!r}; "
                    f"delete it, or choose other --checkpoints"
                )
        return progress, state, best

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))


class Clock:
    """How long a step and an evaluated example take, from what this process has done."""

    def __init__(self):
        self.steps: list[float] = []
        self.first: tuple[int, float] | None = None
        self.example = 0.0

    def chunk(self, count: int, seconds: float) -> None:
        """Notes a chunk; the first one compiles."""
        if self.first is None:
            self.first = count, seconds
        else:
            self.steps.append(seconds / count)

    @property
    def step(self) -> float:
        """Seconds of a step; 0 before the second chunk."""
        return statistics.median(self.steps) if self.steps else 0.0

    @property
    def compile(self) -> float:
        """Seconds that the first chunk took longer than its steps do."""
        if self.first is None or not self.steps:
            return 0.0
        count, seconds = self.first
        return max(0.0, seconds - count * self.step)


def train(
    trainee: Trainee,
    feed: Feed,
    schedule: Schedule,
    checkpoints: Checkpoints,
    stop: Stop,
    say: Callable[[str], None],
    part: Mapping[str, Any],
) -> tuple[str, Progress, dict | None, float]:
    """Trains from the newest checkpoint to the end of the schedule, or as far as time allows, and scores the test set.

    Each epoch ends with an evaluation of the validation set. The test set is scored with the state of the best one; no
    choice depends on it.

    Args:
        part: what `part` says of this process.

    Returns:
        Status ("ok", "partial" or "diverged"), progress, the scores (None without an evaluation), and the median
        seconds of a step.

    Raises:
        UserError: a checkpoint is damaged, of another run, or cannot be written.
    """
    progress, best = Progress(), b""
    if found := checkpoints.restore():
        progress, state, best = found
        trainee.restore(state)
        say(f"resumed at step {progress.step}")
    if part not in progress.parts:
        progress.parts.append(dict(part))
    clock, status, held_out = Clock(), "ok", len(feed.dataset.splits["validation"])
    tests = len(feed.dataset.splits["test"])
    saved = said = time.monotonic()

    def save() -> None:
        nonlocal saved
        checkpoints.save(progress, trainee.dump(), best)
        saved = time.monotonic()

    while progress.step < schedule.steps:
        first = progress.step
        ends = [CHUNK * (first // CHUNK + 1), feed.epoch_steps * (first // feed.epoch_steps + 1), schedule.steps]
        end = min(ends + ([schedule.warmup] if first < schedule.warmup else []))
        evaluates = end % feed.epoch_steps == 0 or end == schedule.steps
        ahead = (end - first) * clock.step + clock.example * (tests + (held_out if evaluates else 0))
        if reason := stop.reason(ahead):
            say(f"leaving at step {first}: {reason}")
            status = "partial"
            break
        begun = time.monotonic()
        loss = trainee.train(feed.training(first, end - first), first)
        seconds = time.monotonic() - begun
        clock.chunk(end - first, seconds)
        progress.seconds["train"] += seconds
        if not math.isfinite(loss):
            say(f"the loss is {loss} between steps {first} and {end}")
            status = "diverged"
            break
        progress.step = end
        progress.losses = [progress.losses[0] + loss * (end - first), progress.losses[1] + end - first]
        if evaluates:
            begun = time.monotonic()
            validation_loss, accuracy = trainee.evaluate(feed.split("validation"))
            seconds = time.monotonic() - begun
            progress.seconds["evaluate"] += seconds
            clock.example = seconds / held_out
            point = {
                "step": end,
                "train_loss": progress.losses[0] / progress.losses[1],
                "train_accuracy": None,
                "validation_loss": validation_loss,
                "validation_accuracy": accuracy,
                "seconds": round(progress.seconds["train"], 3),
            }
            progress.losses = [0.0, 0]
            progress.curve.append(point)
            if progress.best is None or accuracy > progress.best["validation_accuracy"]:
                progress.best, best = point, trainee.dump()
        if evaluates or time.monotonic() - said > SAY_SECONDS:
            said = time.monotonic()
            words = f"step {end}/{schedule.steps}, loss {loss:.4f}"
            if evaluates and progress.best:
                accuracies = progress.curve[-1]["validation_accuracy"], progress.best["validation_accuracy"]
                words += f", validation {100 * accuracies[0]:.2f} %, best {100 * accuracies[1]:.2f} %"
            if clock.step:
                words += f", {1000 * clock.step:.1f} ms a step"
            say(words)
        if time.monotonic() - saved > SAVE_SECONDS:
            save()
    progress.seconds["compile"] += clock.compile
    progress.seconds["train"] -= clock.compile
    if status != "diverged":
        save()
    return status, progress, _result(trainee, feed, progress, best, stop), clock.step


def _result(trainee: Trainee, feed: Feed, progress: Progress, best: bytes, stop: Stop) -> dict | None:
    """The scores at the best evaluation; None without one, or where a signal leaves no time for them."""
    if progress.best is None or stop.signal:
        return None
    trainee.restore(best)
    begun = time.monotonic()
    loss, accuracy = trainee.evaluate(feed.split("test"))
    progress.seconds["evaluate"] += time.monotonic() - begun
    return {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "validation_accuracy": progress.best["validation_accuracy"],
        "best_step": progress.best["step"],
    }


def finished(
    cell: Cell, repository: Repository, dataset: Dataset, schedule: Schedule, seed: int, results: Path
) -> Path | None:
    """The record of this very run, where it has come to its end.

    Raises:
        UserError: a file in the folder of peers' records is none.
    """
    wanted = (repository.commit, cell.model, cell.task, dataset.card["checksum"], schedule.steps, seed)
    for path in peer.paths(results):
        found = peer.read(path)
        run = found.source.commit, found.model, found.task, found.data.checksum, found.steps.planned, found.seed
        if found.status == "ok" and run == wanted:
            return path
    return None


def identity(cell: Cell, repository: Repository, dataset: Dataset, schedule: Schedule, seed: int) -> dict[str, Any]:
    """What makes two runs of a peer the same run."""
    return {
        "code": f"{repository.name}@{repository.commit}",
        "model": cell.model,
        "task": cell.task,
        "checksum": dataset.card["checksum"],
        "counts": dataset.card["counts"],
        "protocol": dataset.card["protocol"],
        "steps": schedule.steps,
        "warmup": schedule.warmup,
        "seed": seed,
    }


def part(where: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    """What trains now: code, device and their circumstances, libraries; JSON values."""
    versions = {"python": platform.python_version(), "ssm_bench": __version__}
    versions |= {name: metadata.version(name) for name in packages}
    return {
        "revision": provenance.revision(),
        "device": dict(where),
        "shared": provenance.shared(),
        "note": provenance.note(),
        "versions": versions,
    }


def record(
    cell: Cell,
    repository: Repository,
    trainee: Trainee,
    dataset: Dataset,
    schedule: Schedule,
    seed: int,
    outcome: tuple[str, Progress, dict | None, float],
) -> PeerRecord:
    """The record of a run."""
    status, progress, result, step_seconds = outcome
    parts, seconds = progress.parts, progress.seconds
    remarks = dict.fromkeys(part["note"] for part in parts if part["note"])
    changes = [f"{r.file}: {r.old.strip()!r} -> {r.new.strip()!r}" for r in repository.replacements]
    found = {
        "schema_version": peer.SCHEMA_VERSION,
        "kind": "peer",
        "status": status,
        "source": {"repository": repository.name, "commit": repository.commit, "changes": changes},
        "model": cell.model,
        "task": cell.task,
        "protocol": dataset.card["protocol"],
        "data": data_part(dataset.card),
        "seed": seed,
        "recipe": dict(trainee.recipe),
        "notes": [*trainee.notes, *remarks],
        "steps": {"done": progress.step, "planned": schedule.steps, "published": schedule.published},
        "result": result,
        "curve": progress.curve,
        "cost": {
            "seconds_train": round(seconds["train"], 3),
            "seconds_compile": round(seconds["compile"], 3),
            "seconds_evaluate": round(seconds["evaluate"], 3),
            "sequences_per_second": round(cell.batch / step_seconds, 2) if step_seconds else None,
            "peak_memory_bytes": trainee.peak_bytes(),
        },
        "device": parts[-1]["device"] | {"shared": any(part["shared"] for part in parts)},
        "versions": parts[-1]["versions"],
        "revision": parts[-1]["revision"],
        "parts": [{name: part[name] for name in ("revision", "device", "versions")} for part in parts[:-1] and parts],
        "created": provenance.now(),
    }
    return peer.validate(found)


def cell_of(model: str, task: str, dataset: Dataset, *, toy: bool = False) -> Cell:
    """Our recipe of a model for a task, which is the published one, at the sizes of a data set."""
    cell = timing.Cell(model, task, toy=toy)
    cell.length = dataset.spec.max_length
    if cell.vocabulary:
        cell.vocabulary = max(cell.vocabulary, dataset.vocab_size)
    return cell
