"""Builders for TensorFlow Datasets (TFDS) of the sets that it lacks, for programs that read their data through it.

They need no TensorFlow: every feature is a tensor of integers, every file an array_record. Splits, order and
numbers are those of `load(task, data="real")`; the metadata name the data and their checksum.

    import tensorflow_datasets as tfds
    from ssm_bench.data import tfds_builders

    tfds_builders.LraListops(data_dir=folder, file_format="array_record").download_and_prepare()
    options = {"file_format": "array_record"}
    source = tfds.data_source("lra_listops", split="train", data_dir=folder, builder_kwargs=options)
    source[0]["tokens"], source[0]["label"]
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from ssm_bench.data.dataset import Dataset, find, load
from ssm_bench.errors import unknown_name

FILE_FORMAT = "array_record"

_CARD = ("identity", "kind", "source", "checksum", "vocabulary", "license")


@dataclass
class Config(tfds.core.BuilderConfig):
    """One set of a builder.

    Attributes:
        task: its name in this package, such as "pathx".
        tokens: the tokenization, where there is more than one.
    """

    task: str = ""
    tokens: str = "characters"


class _Builder(tfds.core.GeneratorBasedBuilder):
    """What the builders share: the data come from `load`, wherever that finds or makes them."""

    VERSION = tfds.core.Version("1.0.0")

    @abc.abstractmethod
    def features(self) -> dict[str, Any]:
        """The features of an example, except its label."""

    def documents(self, documents: list[np.ndarray]) -> list[np.ndarray]:
        """The documents of an example as they are stored, one for each of `features`."""
        return documents

    def _info(self) -> tfds.core.DatasetInfo:
        task = find(self.builder_config.task)
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{task.spec.title} of the Long Range Arena.",
            features=tfds.features.FeaturesDict(
                {**self.features(), "label": tfds.features.ClassLabel(num_classes=task.spec.classes)}
            ),
            citation=task.citation,
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        dataset = load(self.builder_config.task, data="real", tokens=self.builder_config.tokens)
        self.info.metadata.update({key: dataset.card[key] for key in _CARD})
        return {name: self._generate_examples(dataset, examples) for name, examples in dataset.splits.items()}

    def _generate_examples(self, dataset: Dataset, examples: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        names = list(self.features())
        for i in examples.tolist():
            raw = [dataset.values[dataset.offsets[d] : dataset.offsets[d + 1]] for d in dataset.documents[i]]
            yield i, {**dict(zip(names, self.documents(raw), strict=True)), "label": int(dataset.labels[i])}


class LraListops(_Builder):
    """ListOps: `tokens`, ids of words, the end token included."""

    BUILDER_CONFIGS = (Config(name="listops", task="listops"),)

    def features(self) -> dict[str, Any]:
        """One sequence of ids."""
        return {"tokens": tfds.features.Tensor(shape=(None,), dtype=np.uint8)}


class LraRetrieval(_Builder):
    """Retrieval: `first` and `second`, the bytes of two papers; ids of characters in the other configuration."""

    BUILDER_CONFIGS = (
        Config(name="bytes", task="retrieval", tokens="bytes"),
        Config(name="characters", task="retrieval"),
    )

    def features(self) -> dict[str, Any]:
        """Two sequences; papers have more than 256 different characters."""
        dtype = np.uint8 if self.builder_config.tokens == "bytes" else np.uint16
        return {name: tfds.features.Tensor(shape=(None,), dtype=dtype) for name in ("first", "second")}

    def documents(self, documents: list[np.ndarray]) -> list[np.ndarray]:
        """Bytes as they are: ids leave 0 to padding, and nothing is padded here."""
        if self.builder_config.tokens == "bytes":
            return [(document - 1).astype(np.uint8) for document in documents]
        return [document.astype(np.uint16) for document in documents]


class LraPathfinder(_Builder):
    """Pathfinder, Path-X and their variants: `image`, gray levels (side, side, 1)."""

    BUILDER_CONFIGS = tuple(
        Config(name=found.spec.name, task=found.spec.name)
        for task in ("pathfinder", "pathx")
        for found in (find(task), *(find(f"{task}-{variant}") for variant in find(task).variants))
    )

    @property
    def _shape(self) -> tuple[int, int, int]:
        side = round(find(self.builder_config.task).spec.max_length ** 0.5)
        return side, side, 1

    def features(self) -> dict[str, Any]:
        """One image."""
        return {"image": tfds.features.Tensor(shape=self._shape, dtype=np.uint8)}

    def documents(self, documents: list[np.ndarray]) -> list[np.ndarray]:
        """The pixels as an image."""
        return [document.reshape(self._shape) for document in documents]


BUILDERS = (LraListops, LraRetrieval, LraPathfinder)


def build(task: str, tokens: str, folder: Path) -> tuple[str, Path]:
    """Writes a task for TFDS, preparing its data first where need be.

    Args:
        task: name of a task that a builder has, such as "listops" or "pathx".
        tokens: the tokenization, for tasks that offer several.
        folder: TFDS's `data_dir`.

    Returns:
        The name by which TFDS finds it, and where it lies.

    Raises:
        UserError: no builder has the task, or there are no data.
    """
    tokens = find(task).tokens(tokens)
    offered = {
        config.task: (builder, config)
        for builder in BUILDERS
        for config in builder.BUILDER_CONFIGS
        if config.tokens == tokens or len(find(config.task).tokenizations) == 1
    }
    if task not in offered:
        raise unknown_name("task with a builder", task, offered)
    builder, config = offered[task]
    made = builder(config=config.name, data_dir=folder, file_format=FILE_FORMAT)
    made.download_and_prepare()
    return f"{made.name}/{config.name}", made.data_path
