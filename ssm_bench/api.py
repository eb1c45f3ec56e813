"""The Python API: `ssm_bench.train`, `ssm_bench.load` and `ssm_bench.benchmark`."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ssm_bench import registry
from ssm_bench.config import OF_CLASSES, SCHEMA, leaves
from ssm_bench.errors import UserTypeError, unknown_name
from ssm_bench.network.mixer import Mixer
from ssm_bench.record import RunRecord, store
from ssm_bench.record.schema import CurvePoint
from ssm_bench.report import publish, render
from ssm_bench.report.table import Table
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.sweep.progress import Progress
from ssm_bench.training import pretrained, provenance, tracking, trained
from ssm_bench.training import run as runs
from ssm_bench.training.checks import writable
from ssm_bench.training.stop import Stop
from ssm_bench.training.trained import TrainedModel

#: The name of a model, or the class of a mixer.
Model = str | type[Mixer]


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        record: the record that `ssm-bench train` writes: status, result, curve, cost, configuration, data, device.
        path: the file of the record.
        checkpoints: the folder of all checkpoints.
    """

    record: RunRecord
    path: Path
    checkpoints: Path

    @property
    def curve(self) -> list[CurvePoint]:
        """The evaluations during training, ordered by step."""
        return self.record.curve

    @property
    def test_accuracy(self) -> float | None:
        """Test accuracy at the best validation step, in [0, 1]; None if the run did not finish."""
        return self.record.result.test_accuracy if self.record.result else None

    @cached_property
    def model(self) -> TrainedModel:
        """The model with its best parameters, from the kept model or from the checkpoint.

        Raises:
            ValueError: neither exists.
        """
        return trained.of_record(self.path, self.checkpoints)


def train(
    model: Model,
    task: str,
    /,
    *,
    preset: str = "custom",
    protocol: str = "strict",
    data: str = "",
    share: float | None = None,
    seed: int = 0,
    devices: int = 1,
    seconds: float | None = None,
    rerun: bool = False,
    keep_model: bool = False,
    init_from: Path | str | None = None,
    track: str = "",
    results: Path | str = "results",
    checkpoints: Path | str = "checkpoints",
    progress: bool = False,
    **overrides: Any,
) -> Run:
    """Trains one model on one task and writes its record, like `ssm-bench train`.

    An interrupted run is resumed, and a finished run is not repeated.

    Args:
        model: a name from `ssm-bench list models`, "package.module:Class", or a class derived from
            `ssm_bench.network.mixer.Mixer`.
        task: a name from `ssm-bench list tasks`.
        preset: "custom", "quick" (toy size), "budget" or "paper".
        protocol: "strict", "paper" or "lra".
        data: "real", "synthetic" or "auto"; "" is "auto" for `quick` and "real" otherwise.
        share: share of the recipe's schedule, in (0, 1].
        seed: seed of initialization, order and dropout.
        devices: number of devices that share each batch.
        seconds: time limit; the function saves and returns before it, and the run is then "partial".
        rerun: whether to repeat a finished run.
        keep_model: whether to write the trained model to results/models, like `ssm-bench train --keep-model`.
        init_from: a folder written by `ssm-bench pretrain`; training starts from its weights, and the preset of the
            record is "pretrained". None: training starts from a random initialization.
        track: also report progress to "tensorboard", "trackio" or "wandb".
        results: the folder of records.
        checkpoints: the folder of checkpoints.
        progress: whether to report progress on standard error.
        **overrides: settings by section, for example `train={"steps": 100}, mixer={"state_size": 32}`.

    Returns:
        The run. Its record may say "diverged", "oom" or "partial".

    Raises:
        ValueError: an unknown name, a setting out of range, missing data, weights that do not fit, a folder that
            cannot be written, or a tracker that is not installed.
        TypeError: a class that is not derived from `Mixer`.

    Example:
        >>> run = ssm_bench.train("s5", "listops", preset="quick", data="synthetic", train={"steps": 50})
        >>> run.record.status, run.test_accuracy, run.model(tokens, lengths)
    """
    results, checkpoints = Path(results), Path(checkpoints)
    name = model if isinstance(model, str) else _reference(model)
    settings = leaves(_sections(overrides))
    chosen = Choices(
        preset=preset,
        protocol=protocol,
        data=data,
        share=share,
        overrides=tuple(f"--config.{setting}={value}" for setting, value in settings.items()),
    )
    config = chosen.config(Cell(model=name, task=task, seed=seed))
    tracking.check(track)
    writable(results, checkpoints)
    provenance.note()
    with Stop(seconds) as stop:
        config, dataset = opened(config)
        weights = None if init_from is None else pretrained.read(Path(init_from))
        if weights:
            config = weights.continued(config, dataset)
        record = runs.earlier(config, dataset, results, devices=devices)
        if record is None or rerun or runs.outdated(record):
            tell = Progress(f"{name} {task} seed {seed}") if progress else lambda *_: None
            (record,) = runs.run(
                config,
                dataset,
                results=results,
                checkpoints=checkpoints,
                stop=stop,
                tell=tell,
                afresh=rerun,
                devices=devices,
                track=track,
                init=weights.into if weights else None,
            )
    found = Run(record, store.home(record, results), checkpoints)
    if keep_model and record.status == "ok":
        found.model.save(trained.kept_folder(record, results))
    return found


def load(path: Path | str, *, checkpoints: Path | str | None = None) -> TrainedModel:
    """Loads a trained model with its parameters.

    Args:
        path: a record (results/runs/.../*.json), whose kept model or checkpoint is loaded, or a folder written by
            `ssm-bench export`, `--keep-model` or `TrainedModel.save`.
        checkpoints: the folder of checkpoints for a record; None: `checkpoints` next to the folder of results.

    Returns:
        The model. `model(tokens, lengths)` returns logits, and `model.params` contains the parameters.

    Raises:
        ValueError: the model does not exist or cannot be read.
    """
    return trained.of_folder(path) if Path(path).is_dir() else trained.of_record(path, checkpoints)


@dataclass(frozen=True)
class Benchmark:
    """A comparison: its runs, and the table of all records with the same preset.

    Attributes:
        runs: the runs, by model, task and seed, in this order.
        table: the table; `str(benchmark)` is the table as text.
    """

    runs: list[Run]
    table: Table

    def __str__(self) -> str:
        return render.plain(self.table)

    def _repr_markdown_(self) -> str:
        return render.markdown(self.table)


def benchmark(
    model: Model | Iterable[Model],
    /,
    tasks: str | Iterable[str] = ("listops",),
    *,
    compare_with: Iterable[str] = ("s5",),
    preset: str = "quick",
    protocol: str = "strict",
    seeds: Iterable[int] = (0,),
    results: Path | str = "results",
    **options: Any,
) -> Benchmark:
    """Trains a mixer and some models of the suite on tasks, and compares them in one table.

    Args:
        model: a name or a class, as for `train`, or several.
        tasks: a name of a task or several, the columns of the table.
        compare_with: names of models to compare with; finished runs are not repeated.
        preset: as for `train`; "quick" takes about ten seconds per cell on a CPU and is labeled as toy size.
        protocol: as for `train`.
        seeds: seeds of the runs; the table has intervals if there are several.
        results: the folder of records; the table also shows its other records with this preset.
        **options: other arguments of `train`.

    Raises:
        ValueError, TypeError: as `train`.

    Example:
        >>> print(ssm_bench.benchmark(MyMixer, tasks=("listops", "text"), data="synthetic"))
    """
    models = [model] if isinstance(model, str | type) else list(model)
    tasks = [tasks] if isinstance(tasks, str) else list(tasks)
    # Task by task, so that a data set is opened once.
    done = [
        train(each, task, preset=preset, protocol=protocol, seed=seed, results=results, **options)
        for seed in list(seeds)
        for task in tasks
        for each in [*models, *(name for name in compare_with if name not in models)]
    ]
    (table,) = publish.tables(results, preset, protocol)
    return Benchmark(done, table)


def _reference(kind: type) -> str:
    if not (isinstance(kind, type) and issubclass(kind, Mixer)):
        raise UserTypeError(f"model must be a name or a class derived from ssm_bench.network.mixer.Mixer; got {kind!r}")
    return registry.reference(kind)


def _sections(overrides: Mapping[str, Any]) -> dict[str, Any]:
    sections = {*(name.partition(".")[0] for name in SCHEMA), *OF_CLASSES}
    for section, value in overrides.items():
        if section not in sections:
            parameters = inspect.signature(train).parameters.values()
            allowed = sections | {each.name for each in parameters if each.kind == each.KEYWORD_ONLY}
            raise UserTypeError(str(unknown_name("argument or section of settings", section, allowed)))
        if not isinstance(value, Mapping):
            example = f"a mapping, like {section}={{'name': value}}"
            raise UserTypeError(f"{section} must be a section of settings with {example}; got {value!r}")
    return {section: dict(value) for section, value in overrides.items()}
