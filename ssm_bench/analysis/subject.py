"""What is analyzed: a model with its initial or its trained parameters, and sequences for it to read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import UserError
from ssm_bench.network.backbone import Classifier
from ssm_bench.network.scaffold import Scaffold, run_part
from ssm_bench.record import completed, store
from ssm_bench.training.run import make_model, open_data
from ssm_bench.training.trained import TrainedModel


@dataclass(frozen=True)
class Subject:
    """A model and its inputs.

    Attributes:
        name: of the model.
        title: of the model in figures.
        model: the Flax module.
        inputs: integers (b, l), without padding.
        record: the path of the record of its training in the folder of results; empty: it has its initial parameters.
    """

    name: str
    title: str
    model: Classifier
    inputs: np.ndarray
    record: str = ""


def initialized(config: ConfigDict, *, sequences: int, length: int) -> Subject:
    """A model with its initial parameters.

    Args:
        config: a complete configuration.
        sequences: number b of inputs, at least 1.
        length: inputs are cut to it.

    Raises:
        UserError: an impossible setting, or data that are not there.
    """
    config, dataset = open_data(config)
    model = make_model(config, dataset)
    return Subject(config.model.name, config.report.title, model, longest(dataset, sequences, length))


def trained(model: TrainedModel, *, sequences: int, length: int) -> Subject:
    """A model with its trained parameters, which reads the data that it was trained on.

    Raises:
        UserError: the data are not there, or have another vocabulary now.
    """
    config, dataset = open_data(ConfigDict(completed(model.config)))
    name = config.model.name
    if dataset.vocabulary != model.vocabulary:
        raise UserError(f"the vocabulary of {config.task.name} is not the one that {name} was trained with")
    title = f"{model.record.model.title}, trained"
    place = store.home(model.record, "").as_posix()
    return Subject(name, title, model.module, longest(dataset, sequences, length), place)


def longest(dataset: Dataset, count: int, length: int) -> np.ndarray:
    """The longest documents (count, l), all cut to `length` or to the shortest of them, so that none has padding."""
    lengths = np.diff(dataset.offsets)
    order = np.argsort(-lengths, kind="stable")[:count]
    length = min(length, int(lengths[order].min()))
    return np.stack([dataset.values[start : start + length] for start in dataset.offsets[order]])


@dataclass(frozen=True)
class Layer:
    """One block and what reaches it.

    Attributes:
        block: the scaffold with its mixer.
        stream: what the block reads (b, l, h).
        mixed: what its mixer reads (b, l, w).
        more: other arrays that its mixer takes, by name.
    """

    block: Scaffold
    stream: jax.Array
    mixed: jax.Array
    more: dict[str, jax.Array]


def layers(subject: Subject) -> Iterator[Layer]:
    """The blocks of the model, in their order, on its inputs."""
    x = _entered(*nnx.split(subject.model), jnp.asarray(subject.inputs))
    *lower, last = subject.model.blocks
    for block in lower:
        yield Layer(block, x, *_mixed(*nnx.split(block), x))
        x = _through(*nnx.split(block), x)
    # What only the next block would read is not computed.
    yield Layer(last, x, *_mixed(*nnx.split(last), x))


@partial(jax.jit, static_argnums=0)
def _entered(graph: Any, state: Any, inputs: jax.Array) -> jax.Array:
    return nnx.merge(graph, state).entered(inputs)


@partial(jax.jit, static_argnums=0)
def _through(graph: Any, state: Any, x: jax.Array) -> jax.Array:
    return nnx.merge(graph, state)(x, None)


@partial(jax.jit, static_argnums=0)
def _mixed(graph: Any, state: Any, x: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
    """What the mixer of a block reads. The compiler drops the rest of the block."""
    block, read = nnx.merge(graph, state), {}

    def along(part: str, u: jax.Array, key: jax.Array | None, **more: jax.Array) -> jax.Array:
        read[part] = u, more
        return run_part(getattr(block, part), u, None, key=key, **more)

    block.block(x, along, mask=None, train=False, key=None)
    return read["mixer"]
