"""Presets, which determine the share of the published schedule for each cell."""

import math
from collections.abc import Callable
from types import ModuleType

from ml_collections import ConfigDict

from ssm_bench.data import spec
from ssm_bench.training.loop import chunk_length

#: Default share of the published schedule under `budget`.
BUDGET_SHARE = 0.1

#: Largest fraction of a shortened schedule that a warm-up of the published number of steps may take.
LONGEST_WARMUP = 0.1

#: Fewest evaluations of a shortened schedule, if the published one has as many.
LEAST_EVALUATIONS = 10


def quick(config: ConfigDict, experiment: ModuleType) -> None:
    """Toy size, seconds per cell on two CPU cores: tests that everything runs, not the quality of a model."""
    model, train = config.model, config.train
    model.d_model = min(model.d_model, 32)
    # Most of the time of a toy run is compiling, which grows with the blocks: one, unless blocks differ.
    model.layers = min(model.layers, getattr(experiment, "TINY_LAYERS", 1))
    model.context = min(model.context, 8)
    model.dropout = 0.0
    model.input_dropout = 0.0
    model.head_width = 0
    # Trainable in a hundred steps: gray levels as numbers, mean pooling.
    model.encoder = "auto"
    model.pooling = "mean"
    config.mixer.update({name: value for name, value in experiment.TINY.items() if name in config.mixer})
    if "width" in config.scaffold:
        config.scaffold.width = 0
    if "expand" in config.scaffold:
        config.scaffold.expand = min(config.scaffold.expand, 2.0)
    # With fewer pixels the stand-ins of images would be too hard.
    task = spec(config.task.name)
    config.task.max_length = min(64 if task.kind == "tokens" else 100, task.max_length)
    config.task.examples = 2000
    train.batch_size = 16
    train.steps = 100
    # A toy model has no published schedule to be a share of.
    train.published_steps = 0
    train.evaluations = 2
    train.chunk = 50
    # Toy documents are short, and each length is a program to compile.
    train.lengths = 1
    # The 500 examples of a split of a stand-in fit into one call of the evaluation program, which takes 8 batches.
    train.eval_batch_size = 64
    # This would be another program to compile.
    train.norm_batches = 0
    config.optimizer.warmup = 0.1
    # Published learning rates are tuned for long runs of wide models; a toy run has 100 steps.
    config.optimizer.lr = 4e-3
    config.optimizer.ssm_lr = 1e-3
    # Tasks with the same shapes and settings share one compiled program.
    config.optimizer.weight_decay = 0.05


def budget(config: ConfigDict, experiment: ModuleType) -> None:
    """The published recipe with its schedule shortened to a share of the steps; see `set_share`."""
    set_share(config, BUDGET_SHARE)


def paper(config: ConfigDict, experiment: ModuleType) -> None:
    """The published recipe and schedule."""


def custom(config: ConfigDict, experiment: ModuleType) -> None:
    """The published recipe with --config overrides; its records have a separate folder."""


PRESETS: dict[str, Callable[[ConfigDict, ModuleType], None]] = {
    "quick": quick,
    "budget": budget,
    "paper": paper,
    "custom": custom,
}


def default_data(preset: str) -> str:
    """The default of --data: only toy runs may use a synthetic set."""
    return "auto" if preset == "quick" else "real"


def set_share(config: ConfigDict, share: float) -> None:
    """Shortens the schedule to a share in (0, 1] of the published steps, rounded up to complete chunks.

    The number of evaluations is reduced too; otherwise they would cost as much as the steps of a short schedule. The
    warm-up keeps its published number of steps if that is at most a tenth of the run; otherwise it takes a tenth, or
    the published fraction of the schedule if that is larger. Some recipes fail with a warm-up of a few steps.
    """
    train, warmup = config.train, config.optimizer.warmup
    steps = max(1, round(share * train.published_steps))
    if share < 1:
        evaluations = max(LEAST_EVALUATIONS, math.ceil(share * train.evaluations))
        train.evaluations = max(1, min(train.evaluations, evaluations, math.ceil(steps / train.chunk)))
        # With complete chunks between evaluations the run needs one compilation.
        interval, train.chunk = chunk_length(steps, train.evaluations, train.chunk)
        steps = train.evaluations * interval
    train.steps = steps
    config.optimizer.warmup = min(warmup * train.published_steps / steps, max(warmup, LONGEST_WARMUP))
