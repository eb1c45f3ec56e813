"""One run from a configuration to its record."""

import os
import shutil
from collections.abc import Callable, Sequence
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench.data import Dataset, load
from ssm_bench.errors import UserError
from ssm_bench.network.build import build, split
from ssm_bench.record import RunRecord, config_hash, store, validate
from ssm_bench.train import provenance
from ssm_bench.train.batches import device_data
from ssm_bench.train.checkpoint import Checkpoints
from ssm_bench.train.devices import check_batch, place
from ssm_bench.train.loop import Tell, Trainer
from ssm_bench.train.optimizer import make_optimizer
from ssm_bench.train.outcome import Outcome
from ssm_bench.train.step import Program, count_parameters
from ssm_bench.train.stop import Stop
from ssm_bench.train.together import SeedsProgram, Together

#: Statuses that a later sweep does not try again.
FINISHED = ("ok", "diverged", "oom")

#: What settings have to keep, whatever the model: in words, as a test, and which settings.
BOUNDS: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "must be at least 1",
        lambda v: v >= 1,
        ("train.steps", "train.batch_size", "train.evaluations", "train.chunk", "train.lengths"),
    ),
    ("must be a number above 0", lambda v: 0 < v < inf, ("optimizer.lr", "optimizer.ssm_lr", "optimizer.epsilon")),
    (
        "must be 0 or more",
        lambda v: 0 <= v < inf,
        (
            *("train.eval_batch_size", "model.head_width", "model.embedding_std"),
            *("optimizer.weight_decay", "optimizer.end_lr", "optimizer.clip_norm"),
        ),
    ),
    (
        "must lie in [0, 1)",
        lambda v: 0 <= v < 1,
        ("model.dropout", "model.input_dropout", "model.norm_decay", "optimizer.b1", "optimizer.b2"),
    ),
    ("is a share of the steps in [0, 1]", lambda v: 0 <= v <= 1, ("optimizer.warmup",)),
)


def open_data(config: ConfigDict, *, progress: bool = False) -> tuple[ConfigDict, Dataset]:
    """Opens the data that a configuration asks for, and writes into the configuration what they turned out to be.

    Raises:
        UserError: no such data, or data that are damaged.
    """
    task = config.task
    dataset = load(
        task.name,
        data=task.data,
        protocol=config.protocol,
        tokens=task.tokens,
        max_length=task.max_length,
        examples=task.examples,
        progress=progress,
    )
    config = config.copy_and_resolve_references()
    config.task.data = "synthetic" if dataset.card["kind"] == "synthetic" else "real"
    config.task.max_length = dataset.spec.max_length
    return config, dataset


def make_program(config: ConfigDict, dataset: Dataset, *, devices: int = 1) -> Program:
    """The compiled programs of a run on so many devices.

    Raises:
        UserError: a setting that names or sizes something impossible.
    """
    model = split(
        build(
            config,
            dataset.spec,
            vocab_size=dataset.vocab_size or 256,
            pixels=(dataset.pixel_mean, dataset.pixel_std),
            rngs=nnx.Rngs(config.seed),
        )
    )
    optimizer = make_optimizer(config.optimizer, config.train.steps, model.roles)
    ragged = dataset.spec.kind == "tokens"
    return Program(model, optimizer, ragged=ragged, seed=config.seed, placement=place(devices))


def make_trainer(config: ConfigDict, dataset: Dataset, *, devices: int = 1, seeds: Sequence[int] = ()) -> Trainer:
    """A trainer with its data on its devices, of several seeds in one program if they are given.

    Raises:
        UserError: as `make_program`, `check_sizes`, `check_batch` and `Together`.
    """
    check_sizes(config, dataset)
    check_batch(config.train.batch_size, devices)
    revision, kind = provenance.revision(), provenance.device()["kind"]
    code = f"commit {revision['commit'][:12]}{'+dirty' if revision['dirty'] else ''}"
    programs = [make_program(with_seed(config, seed), dataset, devices=devices) for seed in seeds or [config.seed]]
    shared = {
        "data": device_data(dataset, programs[0].placement),
        "splits": dataset.splits,
        "config": config,
        "lengths": np.diff(dataset.offsets)[dataset.documents].max(1),
        "origin": f"{code} on {f'{devices} x ' if devices > 1 else ''}{kind}",
        "checksum": dataset.card["checksum"],
    }
    return Together(SeedsProgram(programs), **shared) if seeds else Trainer(programs[0], **shared)


def check_sizes(config: ConfigDict, dataset: Dataset) -> None:
    """Refuses settings that no run can have, and data that no model of theirs can take.

    Raises:
        UserError: a setting out of BOUNDS, a batch larger than the training split, or token ids or labels outside
            the task's: on the device they would be taken for others, silently.
    """
    for sentence, holds, names in BOUNDS:
        for name in names:
            value = attrgetter(name)(config)
            if not holds(value):
                raise UserError(f"--config.{name} {sentence}; got {value}")
    examples = len(dataset.splits["train"])
    if config.train.batch_size > examples:
        seen = config.train.batch_size
        raise UserError(f"--config.train.batch_size must be at most the {examples} training examples; got {seen}")
    ids, classes = (dataset.values, dataset.vocab_size), (dataset.labels, dataset.spec.classes)
    for what, (values, count) in {"token ids": ids, "labels": classes}.items():
        if count and not 0 <= values.min() <= values.max() < count:
            seen = f"{values.min()}..{values.max()}"
            raise UserError(f"{what} of {dataset.spec.name} must lie in 0..{count - 1}; its data have {seen}")


def with_seed(config: ConfigDict, seed: int) -> ConfigDict:
    """The configuration of another seed."""
    config = config.copy_and_resolve_references()
    config.seed = seed
    return config


def checkpoint_folder(config: ConfigDict, root: Path, seeds: Sequence[int] = ()) -> Path:
    """The folder of a run's checkpoints, below `root`, or of several seeds in one program."""
    name = f"{config_hash(config.to_dict())}-s{'-'.join(map(str, seeds or [config.seed]))}"
    return root / config.preset / config.task.name / config.model.name / name


def run(
    config: ConfigDict,
    dataset: Dataset,
    *,
    results: Path,
    checkpoints: Path,
    stop: Stop,
    tell: Tell,
    afresh: bool = False,
    devices: int = 1,
    seeds: Sequence[int] = (),
) -> list[RunRecord]:
    """Trains one cell and writes its record; running out of memory and diverging are records too.

    Args:
        config: resolved by `open_data`.
        dataset: its data.
        results: the folder of all results.
        checkpoints: the folder of all checkpoints.
        stop: deadline and signals.
        tell: progress, as for `Trainer.fit`.
        afresh: forget the checkpoints of an earlier run of this configuration.
        devices: how many share every batch.
        seeds: several at once, in one program, in place of the configuration's.

    Returns:
        A record for each seed.

    Raises:
        UserError: a mistake in the settings; nothing is written.
    """
    state_size, parameters = None, 0
    configs = [with_seed(config, seed) for seed in seeds] or [config]
    outcomes = [Outcome() for _ in configs]
    try:
        trainer = make_trainer(config, dataset, devices=devices, seeds=seeds)
        outcomes, model = trainer.outcomes, trainer.program.model
        parameters, state_size = count_parameters(model.params) // len(configs), model.state_size
        for output in (results, checkpoints):
            writable(output)
        folder = checkpoint_folder(config, checkpoints, seeds)
        if afresh:
            shutil.rmtree(folder, ignore_errors=True)
        manager = Checkpoints(folder)
        try:
            trainer.fit(manager, stop, tell)
            if isinstance(trainer, Together):
                trainer.hand_over(manager, [checkpoint_folder(each, checkpoints) for each in configs])
        finally:
            manager.close()
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        for outcome in outcomes:
            outcome.status = "oom"
            outcome.message = (
                f"out of memory with batches of {config.train.batch_size} and length {dataset.spec.max_length}: "
                "try --config.train.batch_size or --config.train.eval_batch_size at half the value"
                + (f", or fewer seeds --together than {len(seeds)}" if seeds else "")
            )
    if seeds:
        for outcome in outcomes:
            company = f"one program for seeds {', '.join(map(str, seeds))}, times are a share of it"
            outcome.message = f"{outcome.message}; {company}" if outcome.message else company
    sizes = {"parameters": parameters, "state_size": state_size}
    records = [
        make_record(each, dataset, outcome, devices=devices, **sizes)
        for each, outcome in zip(configs, outcomes, strict=True)
    ]
    for record in records:
        store.write(record, results)
    return records


def writable(folder: Path) -> None:
    """Makes a folder for output, before the work whose output it takes.

    Raises:
        UserError: it can not be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        allowed = os.access(folder, os.W_OK)
    except OSError:
        allowed = False
    if not allowed:
        raise UserError(f"can not write to the folder {folder}: choose another with --results or --checkpoints")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the device or of the machine."""
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()


def make_record(
    config: ConfigDict, dataset: Dataset, outcome: Outcome, *, parameters: int, state_size: int | None, devices: int
) -> RunRecord:
    """The record of a run that ended as `outcome` on so many devices."""
    if len(outcome.origins) > 1:
        outcome.message = _joined(outcome.message, "trained in parts by " + ", ".join(outcome.origins))
    outcome.message = _joined(outcome.message, os.environ.get("SSM_BENCH_NOTE", ""))
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


def _joined(*sentences: str) -> str:
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
