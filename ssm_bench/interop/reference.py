"""Published models with the authors' parameters in modules of ours.

Parameters are named as in the authors' checkpoints: those of Flax with "/" between the levels,
"encoder/layers_0/seq/Lambda_re", those of PyTorch as in a `state_dict`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench.errors import UserError, unknown_name
from ssm_bench.interop import mamba, minimal_lru, recurrentgemma, s4, s5
from ssm_bench.interop.places import Place, Places, fill, flat
from ssm_bench.network.backbone import Classifier

#: What builds the model of a source: arrays by name and the authors' options, to a module of ours (a classifier, or a
#: layer called with x and a mask) and the places of parameters and of running statistics.
SOURCES: dict[str, Callable[..., tuple[nnx.Module, Places, Places]]] = {
    "google-deepmind/recurrentgemma": recurrentgemma.build,
    "lindermanlab/S5": s5.build,
    "NicolasZucchet/minimal-LRU": minimal_lru.build,
    "state-spaces/s4": s4.build,
    "state-spaces/mamba": mamba.build,
}


def load_reference(
    source: str, params: Mapping[str, Any], batch_stats: Mapping[str, Any] | None = None, **options: Any
) -> "ReferenceClassifier | ReferenceLayer":
    """A model of ours that computes what the authors' code computes with these parameters.

    Sizes, number of layers, direction and head are read off the arrays.

    Args:
        source: the authors' repository, one of SOURCES.
        params: arrays by name, flat ("encoder/layers_0/seq/B") or nested, with or without a leading "params".
        batch_stats: running statistics of batch normalisation, named likewise, with or without a leading
            "batch_stats"; None: those before training, mean 0 and variance 1.
        **options: what the arrays cannot tell, under the authors' names and with their defaults: the arguments of
            the source's `build`, in its module beside this one.

    Raises:
        UserError: an unknown source or option, or parameters that are missing, superfluous or of a wrong shape.
    """
    if source not in SOURCES:
        raise unknown_name("source", source, SOURCES)
    build = SOURCES[source]
    known = [name for name, p in inspect.signature(build).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {source}", option, known)
    arrays = flat(params, "params")
    model, parameters, statistics = build(arrays, **options)
    fill("parameter", parameters, arrays)
    if batch_stats is not None:
        fill("batch statistic", statistics, flat(batch_stats, "batch_stats"))
    return ReferenceClassifier(model, statistics) if isinstance(model, Classifier) else ReferenceLayer(model)


class ReferenceClassifier:
    """A published classifier: `model` is ours, inputs and names are the authors'."""

    def __init__(self, model: Classifier, statistics: Mapping[str, Place]):
        """Keeps a filled model and where its running statistics are."""
        self.model = model
        self._statistics = statistics

    def log_probs(self, inputs: jax.Array, lengths: jax.Array | None = None, train: bool = False) -> jax.Array:
        """Log-probabilities (b, c), without dropout.

        Args:
            inputs: token ids (b, l), integers; or values (b, l, channels), floats. For a model of two documents the
                first half of the batch holds the first documents, the second half the second ones.
            lengths: true lengths (b,), or None. As in the authors' code only the pooling knows them: padding is part
                of the scans and of the batch statistics.
            train: normalise by the batch's own statistics, which moves the running ones (see `batch_stats`).

        Raises:
            UserError: a batch that cannot be split into pairs of documents.
        """
        documents = self.model.documents
        inputs = jnp.asarray(inputs)
        if inputs.shape[0] % documents:
            raise UserError(f"a batch of document pairs has an even number of rows; got {inputs.shape[0]}")
        inputs, lengths = jax.tree.map(
            lambda x: jnp.swapaxes(jnp.reshape(x, (documents, -1, *x.shape[1:])), 0, 1), (inputs, lengths)
        )
        graph, state = nnx.split(self.model)
        log_probs, statistics = _log_probs(graph, state, inputs, lengths, train)
        if train:
            nnx.update(self.model, statistics)
        return log_probs

    @property
    def batch_stats(self) -> dict[str, np.ndarray]:
        """The running statistics of batch normalisation, under the authors' names."""
        return {name: np.asarray(place.variable[...]) for name, place in self._statistics.items()}


class ReferenceLayer:
    """A published layer: `model` is our module with the authors' parameters in it."""

    def __init__(self, model: nnx.Module):
        """Keeps a filled module."""
        self.model = model

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h); mask (b, l), True at true positions, or None."""
        return _apply(*nnx.split(self.model), jnp.asarray(x), mask)


@partial(jax.jit, static_argnames=("graph", "train"))
def _log_probs(graph, state, inputs, lengths, train):
    model = nnx.merge(graph, state)
    logits = model(inputs, lengths, train=train)
    return jax.nn.log_softmax(logits), nnx.state(model, nnx.BatchStat)


@partial(jax.jit, static_argnames="graph")
def _apply(graph, state, x, mask):
    return nnx.merge(graph, state)(x, mask)
