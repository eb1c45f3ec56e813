"""What is refused before a run begins."""

import os
from collections.abc import Callable
from math import inf
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryFile

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.train.memory import check_memory

#: What settings have to keep, whatever the model: in words, as a test, and which settings.
BOUNDS: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "must be at least 1",
        lambda v: v >= 1,
        ("train.steps", "train.batch_size", "train.evaluations", "train.chunk", "train.lengths"),
    ),
    # Layers are traced one by one.
    ("must be at most 1024", lambda v: v <= 2**10, ("model.layers",)),
    ("must be less than 2^31, which counts steps", lambda v: v < 2**31, ("train.steps",)),
    ("must be a number above 0", lambda v: 0 < v < inf, ("optimizer.lr", "optimizer.ssm_lr", "optimizer.epsilon")),
    (
        "must be 0 or more",
        lambda v: 0 <= v < inf,
        (
            *(
                "train.eval_batch_size",
                "train.norm_batches",
                "model.context",
                "model.head_width",
                "model.embedding_std",
            ),
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


def check_sizes(config: ConfigDict, dataset: Dataset) -> None:
    """Refuses settings that no run can have, and data that no model of theirs can take.

    Raises:
        UserError: a setting out of BOUNDS, sizes that do not fit into memory, a batch larger than the training split,
            or token ids or labels outside the task's: on the device they would be taken for others, silently.
    """
    for sentence, holds, names in BOUNDS:
        for name in names:
            value = attrgetter(name)(config)
            if not holds(value):
                raise UserError(f"--config.{name} {sentence}; got {value}")
    check_memory(config, dataset.spec, vocab_size=dataset.vocab_size or 256)
    examples = len(dataset.splits["train"])
    if config.train.batch_size > examples:
        seen = config.train.batch_size
        raise UserError(f"--config.train.batch_size must be at most the {examples} training examples; got {seen}")
    ids, classes = (dataset.values, dataset.vocab_size), (dataset.labels, dataset.spec.classes)
    for what, (values, count) in {"token ids": ids, "labels": classes}.items():
        if count and not 0 <= values.min() <= values.max() < count:
            seen = f"{values.min()}..{values.max()}"
            raise UserError(f"{what} of {dataset.spec.name} must lie in 0..{count - 1}; its data have {seen}")


def writable(*folders: Path) -> None:
    """Refuses folders for output that can not be made or written to, before the work whose output they take.

    It makes none: what is refused afterwards leaves nothing behind.

    Raises:
        UserError: of the first that can not.
    """
    for folder in folders:
        path = folder.absolute()
        standing = next(place for place in (path, *path.parents) if os.path.lexists(place))
        try:
            # Rights alone do not tell: the superuser has them also where nothing can be written.
            with TemporaryFile(dir=standing):
                pass
        except OSError as error:
            raise UserError(
                f"can not write to the folder {folder}: choose another with --results or --checkpoints"
            ) from error
