"""One run from a configuration to its record."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench.data import Dataset, load
from ssm_bench.errors import UserError
from ssm_bench.network.backbone import Classifier
from ssm_bench.network.build import Split, build, split
from ssm_bench.record import RunRecord, store
from ssm_bench.training import provenance
from ssm_bench.training.checkpoint import Checkpoints, lock_file, reserved
from ssm_bench.training.checks import check_sizes, writable
from ssm_bench.training.devices import check_parts, check_shares, place
from ssm_bench.training.identity import name_of
from ssm_bench.training.loop import Tell, Trainer
from ssm_bench.training.optimizer import make_optimizer
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.processes import check_alike, checkpoints_of, first, lead
from ssm_bench.training.recording import make_record
from ssm_bench.training.segments import check_model
from ssm_bench.training.sources import source_of
from ssm_bench.training.step import Program, count_parameters
from ssm_bench.training.stop import Stop
from ssm_bench.training.together import SeedsProgram, Together
from ssm_bench.training.tracking import Tracking

#: Statuses that a later sweep does not try again.
FINISHED = ("ok", "diverged", "oom")


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


def make_model(config: ConfigDict, dataset: Dataset) -> Classifier:
    """The model of a configuration resolved by `open_data`, with its initial values.

    Raises:
        UserError: a setting that names or sizes something impossible.
    """
    pixels = (dataset.pixel_mean, dataset.pixel_std)
    rngs = nnx.Rngs(config.seed)
    return build(config, dataset.spec, vocab_size=dataset.vocab_size, pixels=pixels, rngs=rngs)


def make_program(
    config: ConfigDict, dataset: Dataset, *, devices: int = 1, init: Callable[[Split], Split] | None = None
) -> Program:
    """The compiled programs of a run on so many devices.

    Args:
        config: resolved by `open_data`.
        dataset: its data.
        devices: how many share every batch, or every sequence.
        init: gives a new model its initial values; None: those of its constructor.

    Raises:
        UserError: a setting that names or sizes something impossible.
    """
    network = make_model(config, dataset)
    check_model(network, config)
    check_parts(network, config)
    model = split(network)
    model = init(model) if init else model
    optimizer = make_optimizer(config.optimizer, config.train.steps, model.roles)
    ragged = dataset.spec.kind == "tokens"
    return Program(
        model,
        optimizer,
        ragged=ragged,
        seed=config.seed,
        # Configurations of records may be older than these settings.
        accumulate=config.train.get("accumulate", 1),
        segment=config.train.get("segment", 0),
        placement=place(devices, config.train.get("divide", "batch")),
    )


def make_trainer(
    config: ConfigDict,
    dataset: Dataset,
    *,
    devices: int = 1,
    seeds: Sequence[int] = (),
    make: Callable[..., Program] = make_program,
) -> Trainer:
    """A trainer with the source of its batches, of several seeds in one program if they are given.

    `make` makes the compiled programs, with the arguments of `make_program`.

    Raises:
        UserError: as `make_program`, `check_sizes`, `check_shares` and `Together`.
    """
    check_sizes(config, dataset)
    check_shares(config, devices)
    programs = [make(with_seed(config, seed), dataset, devices=devices) for seed in seeds or [config.seed]]
    shared = {
        "source": source_of(dataset, programs[0].placement, config.train.data_on),
        "splits": dataset.splits,
        "config": config,
        "lengths": np.diff(dataset.offsets)[dataset.documents].max(1),
        "origin": provenance.part(devices, config),
        "checksum": dataset.card["checksum"],
    }
    return Together(SeedsProgram(programs), **shared) if seeds else Trainer(programs[0], **shared)


def with_seed(config: ConfigDict, seed: int) -> ConfigDict:
    """The configuration of another seed."""
    config = config.copy_and_resolve_references()
    config.seed = seed
    return config


def checkpoint_folder(config: ConfigDict, dataset: Dataset, root: Path, seeds: Sequence[int] = ()) -> Path:
    """The folder of a run's checkpoints, below `root`, or of several seeds in one program."""
    name = name_of(config, dataset.card["checksum"], tuple(seeds))
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
    track: str = "",
    init: Callable[[Split], Split] | None = None,
) -> list[RunRecord]:
    """Trains one cell and writes its record; running out of memory and diverging are records too.

    Args:
        config: resolved by `open_data`.
        dataset: its data.
        results: the folder of all results.
        checkpoints: the folder of all checkpoints.
        stop: deadline and signals.
        tell: progress, as for `Trainer.fit`.
        afresh: train again even if there is a finished record.
        devices: how many share every batch, those of all processes.
        seeds: several at once, in one program, in place of the configuration's.
        track: where else to report, as `tracking.check` accepts it; "" is nowhere.
        init: initial values, as for `make_program`.

    Returns:
        A record for each seed.

    Raises:
        UserError: a mistake in the settings, a record that could not be written, or another process trains this run;
            nothing is written.
        Stopped: a stop was requested before the model was built; nothing is written.
    """
    state_size, parameters = None, 0
    configs = [with_seed(config, seed) for seed in seeds] or [config]
    outcomes = [Outcome() for _ in configs]
    names = [name_of(each, dataset.card["checksum"]) for each in configs]
    check_alike(f"{' '.join(names)}, code {provenance.code_of_run(config)}")
    tracking = Tracking(track if first() else "", configs, names, results)
    # Of every seed, however many are in one program.
    folders = [checkpoint_folder(each, dataset, checkpoints) for each in configs]
    folder = checkpoint_folder(config, dataset, checkpoints, seeds)
    manager = checkpoints_of(folder)

    def look() -> None:
        check_record(configs, dataset, results, devices=devices)
        writable(folder)
        # Before memory is taken that the other process has, and without making a folder that may not be needed.
        with reserved([folder for folder in folders if lock_file(folder).exists()]):
            pass

    def begin(stack: ExitStack) -> None:
        stack.enter_context(reserved(folders))
        # An unfinished run continues: with a deadline it would never end otherwise.
        before = [earlier(each, dataset, results, devices=devices) for each in configs]
        if any(record and (afresh or (outdated(record) and not _of_this_code(manager, config))) for record in before):
            manager.clear()

    lead(look)
    try:
        # Initial values are computed by many small programs, which take long to compile on some devices.
        make = partial(make_program, init=init)
        trainer = stop.attempt(partial(make_trainer, config, dataset, devices=devices, seeds=seeds, make=make))
        outcomes, model = trainer.outcomes, trainer.program.model
        parameters, state_size = count_parameters(model.params) // len(configs), model.state_size
        with ExitStack() as stack:
            lead(partial(begin, stack))
            trainer.fit(manager, stop, tell, tracking)
            if isinstance(trainer, Together):
                trainer.hand_over(manager, folders)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        for outcome in outcomes:
            outcome.status = "oom"
            outcome.message = memory_advice(config, dataset)
            if seeds:
                outcome.message += f", or fewer seeds --together than {len(seeds)}"
    finally:
        tracking.end(outcomes)
    sizes = {"parameters": parameters, "state_size": state_size}
    records = [
        make_record(each, dataset, outcome, devices=devices, together=seeds, **sizes)
        for each, outcome in zip(configs, outcomes, strict=True)
    ]
    for record in records if first() else ():
        store.write(record, results)
    return records


def _of_this_code(manager: Checkpoints, config: ConfigDict) -> bool:
    """Whether the newest checkpoint, if there is one, was made by this code: by a run that replaces an outdated one."""
    progress = manager.progress()
    return progress is not None and progress["origins"][-1]["code"] == provenance.code_of_run(config)


def check_record(configs: Sequence[ConfigDict], dataset: Dataset, results: Path, *, devices: int = 1) -> None:
    """Refuses runs whose record could not be written, before the work that it would be about.

    Raises:
        UserError: a field that no record can have, or a place where no file can be written.
    """
    for config in configs:
        home = store.home(make_record(config, dataset, Outcome(), devices=devices), results)
        if home.exists() and not home.is_file():
            raise UserError(f"cannot write the record {home}: there is something else than a file")
        writable(home.parent)


def earlier(config: ConfigDict, dataset: Dataset, results: Path, *, devices: int = 1) -> RunRecord | None:
    """The record of a finished run of this configuration on these data, if there is one.

    A run that ran out of memory is finished on as many devices of the same kind that divide the same axis.
    """
    name = name_of(config, dataset.card["checksum"])
    found = store.find(results, config.preset, config.task.name, config.model.name, name)
    if found is None or found.status not in FINISHED or found.data.checksum != dataset.card["checksum"]:
        return None
    here = provenance.device(devices)
    before = (found.device.kind, found.device.count, found.config["train"].get("divide", "batch"))
    elsewhere = before != (here["kind"], here["count"], config.train.divide)
    return None if found.status == "oom" and elsewhere else found


#: Presets whose records stand for the code of the day; those of others are results, and stay.
OF_THIS_CODE = ("custom", "quick", "pretrained-quick")


def outdated(record: RunRecord) -> str:
    """Why a finished record does not replace a run of this code, in a few words; empty where it does.

    Code is compared by its content, so that a commit to other files, or a return to earlier code, makes no difference.
    """
    if record.preset not in OF_THIS_CODE or record.code == provenance.code_of_run(record.config):
        return ""
    return f"its record was made by other code ({revision_words(record)})"


def revision_words(record: RunRecord) -> str:
    """The revision of a record in a few words, "commit 1a2b3c4d5e6f" or "commit 1a2b3c4d5e6f with changes"."""
    commit = record.revision.commit
    named = commit if commit.startswith("version ") else f"commit {commit[:12]}"
    return f"{named} with changes" if record.revision.dirty else named


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the device or of the machine."""
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()


def memory_advice(config: ConfigDict, dataset: Dataset) -> str:
    """What to do where memory ran out."""
    advice = "try --config.train.batch_size or --config.train.eval_batch_size at half the value"
    if config.model.norm != "batch":
        advice += f", or --config.train.accumulate={2 * config.train.accumulate}"
    return f"out of memory with batches of {config.train.batch_size} and length {dataset.spec.max_length}: {advice}"
