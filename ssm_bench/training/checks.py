"""Checks before a run begins."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import SettingError, UserError
from ssm_bench.training.memory import check_memory


def check_sizes(config: ConfigDict, dataset: Dataset) -> None:
    """Checks sizes against memory and data; single settings were checked by `resolve`.

    Raises:
        UserError: sizes that do not fit into memory, a batch larger than the training split, or token ids or labels
            outside the task's range, which the device would silently replace.
    """
    check_memory(config, dataset.spec, vocab_size=dataset.vocab_size)
    examples = len(dataset.splits["train"])
    if config.train.batch_size > examples:
        seen = config.train.batch_size
        raise SettingError("train.batch_size", f"must be at most the {examples} training examples; got {seen}")
    ids, classes = (dataset.values, dataset.vocab_size), (dataset.labels, dataset.spec.classes)
    for what, (values, count) in {"token ids": ids, "labels": classes}.items():
        if count and not 0 <= values.min() <= values.max() < count:
            seen = f"{values.min()}..{values.max()}"
            raise UserError(f"{what} of {dataset.spec.name} must lie in 0..{count - 1}; its data have {seen}")


def writable(*folders: Path) -> None:
    """Refuses folders for output that cannot be made or written to, before the work whose output they take.

    It makes none: what is refused afterwards leaves nothing behind.

    Raises:
        UserError: of the first that cannot.
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
                f"cannot write to the folder {folder}: choose another with --results or --checkpoints"
            ) from error
