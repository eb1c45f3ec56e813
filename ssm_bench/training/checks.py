"""Checks before a run begins."""

import os
from pathlib import Path
from tempfile import TemporaryFile

from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import SettingError, UserError
from ssm_bench.training.memory import check_memory


def check_sizes(config: ConfigDict, dataset: Dataset) -> None:
    """Checks sizes against memory and data; `resolve` has checked single settings.

    Raises:
        UserError: sizes that do not fit into memory, a batch larger than the training split, or token ids or labels
            out of the task's range, which the device would silently replace.
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
    """Checks that output folders can be created and written to, before the work starts.

    It does not create them, so that a later error leaves no empty folders.

    Raises:
        UserError: names the first folder that cannot be written to.
    """
    for folder in folders:
        path = folder.absolute()
        standing = next(place for place in (path, *path.parents) if os.path.lexists(place))
        try:
            # Permissions are not sufficient: the superuser has them even if nothing can be written.
            with TemporaryFile(dir=standing):
                pass
        except OSError as error:
            raise UserError(
                f"cannot write to the folder {folder}: choose another with --results or --checkpoints"
            ) from error
