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
from jax.core import Tracer

from ssm_bench.errors import UserError, unknown_name
from ssm_bench.interop import mamba, mega, megalodon, minimal_lru, recurrentgemma, s4, s5
from ssm_bench.interop.places import Built, Place, fill, flat
from ssm_bench.network.backbone import Classifier
from ssm_bench.network.scaffold import check_inputs

#: What builds the model of a source from arrays by name and the authors' options.
SOURCES: dict[str, Callable[..., Built]] = {
    "facebookresearch/mega": mega.build,
    "google-deepmind/recurrentgemma": recurrentgemma.build,
    "lindermanlab/S5": s5.build,
    "NicolasZucchet/minimal-LRU": minimal_lru.build,
    "state-spaces/s4": s4.build,
    "state-spaces/mamba": mamba.build,
    "XuezheMax/megalodon": megalodon.build,
}


def load_reference(
    source: str, params: Mapping[str, Any], batch_stats: Mapping[str, Any] | None = None, **options: Any
) -> "ReferenceClassifier | ReferenceLayer":
    """A model of ours that computes what the authors' code computes with these parameters.

    Sizes, number of layers, direction and head are read off the arrays.

    Args:
        source: the authors' repository, one of SOURCES.
        params: arrays by name, flat ("encoder/layers_0/seq/B") or nested, with or without a leading "params".
        batch_stats: running statistics of batch normalization, named likewise, with or without a leading
            "batch_stats"; None: those before training, mean 0 and variance 1.
        **options: what the arrays do not determine, under the authors' names and with their defaults: the arguments of
            the source's `build`, in its module next to this one.

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
    model, parameters, statistics, width = build(arrays, **options)
    fill("parameter", parameters, arrays)
    if batch_stats is not None:
        fill("batch statistic", statistics, flat(batch_stats, "batch_stats"))
    if isinstance(model, Classifier):
        return ReferenceClassifier(model, statistics, width)
    return ReferenceLayer(model, width)


class ReferenceClassifier:
    """A published classifier: `model` is ours, inputs and names are the authors'."""

    def __init__(self, model: Classifier, statistics: Mapping[str, Place], width: int):
        """Keeps a filled model, where its running statistics are, and how many token ids or channels it takes."""
        self.model = model
        self.width = width
        self._statistics = statistics

    def log_probs(self, inputs: jax.Array, lengths: jax.Array | None = None, train: bool = False) -> jax.Array:
        """Log-probabilities (b, c), without dropout.

        Args:
            inputs: token ids (b, l), integers; or values (b, l, channels), floats. For a model of two documents the
                first half of the batch holds the first documents, the second half the second ones.
            lengths: true lengths (b,), or None. As in the authors' code only the pooling knows them: padding is part
                of the scans and of the batch statistics.
            train: normalize by the batch's own statistics, which moves the running ones (see `batch_stats`).

        Raises:
            UserError: inputs of another shape, token ids without a row in the encoder, lengths outside 1..l, or a batch
                that cannot be split into pairs of documents.
        """
        documents = self.model.documents
        inputs = jnp.asarray(inputs)
        self._check(inputs, lengths)
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

    def _check(self, inputs: jax.Array, lengths: jax.Array | None) -> None:
        if jnp.issubdtype(inputs.dtype, jnp.integer):
            if inputs.ndim != 2 or not inputs.size:
                raise UserError(f"token ids must have a shape (batch, length); got {inputs.shape}")
            _check_range("token ids", inputs, 0, self.width - 1)
        elif inputs.ndim != 3 or not inputs.size or inputs.shape[2] != self.width:
            raise UserError(
                f"inputs must be token ids (batch, length) or numbers (batch, length, {self.width}); "
                f"got {inputs.dtype} of shape {inputs.shape}"
            )
        if lengths is not None:
            if jnp.shape(lengths) != inputs.shape[:1]:
                raise UserError(f"lengths must have the shape {inputs.shape[:1]}; got {jnp.shape(lengths)}")
            _check_range("lengths", lengths, 1, inputs.shape[1])

    @property
    def batch_stats(self) -> dict[str, np.ndarray]:
        """The running statistics of batch normalization, under the authors' names."""
        return {name: np.asarray(place.variable[...]) for name, place in self._statistics.items()}


class ReferenceLayer:
    """A published layer: `model` is our module with the authors' parameters in it."""

    def __init__(self, model: nnx.Module, width: int):
        """Keeps a filled module and its width h."""
        self.model = model
        self.width = width

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h); mask (b, l) bool, true at positions of the sequence, or None.

        Raises:
            UserError: inputs or a mask of another shape or type.
        """
        x = jnp.asarray(x)
        mask = None if mask is None else jnp.asarray(mask)
        check_inputs("the layer", x, mask, self.width)
        return _apply(*nnx.split(self.model), x, mask)


def _check_range(what: str, values: jax.Array, smallest: int, largest: int) -> None:
    """Refuses values that JAX would clamp to a range; inside `jax.jit` and the like there are none to look at."""
    if not isinstance(values, Tracer):
        values = jnp.asarray(values)
        if not smallest <= values.min() <= values.max() <= largest:
            raise UserError(f"{what} must lie in {smallest}..{largest}; got {values.min()}..{values.max()}")


@partial(jax.jit, static_argnames=("graph", "train"))
def _log_probs(graph, state, inputs, lengths, train):
    model = nnx.merge(graph, state)
    logits = model(inputs, lengths, train=train)
    return jax.nn.log_softmax(logits), nnx.state(model, nnx.BatchStat)


@partial(jax.jit, static_argnames="graph")
def _apply(graph, state, x, mask):
    x = x if mask is None else jnp.where(mask[..., None], x, 0)
    return nnx.merge(graph, state)(x, mask)
