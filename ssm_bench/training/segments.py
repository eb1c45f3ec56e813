"""Sequences in segments: truncated backpropagation through time, with memory that does not grow with the length.

The blocks read a sequence segment by segment and carry their states. A forward pass gives the pooled features of the
whole sequence, and with them the loss. A second pass computes each segment again, with its gradient: what a segment
adds to the pooled features is differentiated, while the state before the segment counts as a constant.

Source: Williams and Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories".
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.config import check_allowed
from ssm_bench.errors import SettingError
from ssm_bench.network.backbone import Classifier, as_documents
from ssm_bench.network.mixer import Mixer, WholeMixer

#: What carries a state from segment to segment and adds up over them: the values allowed of each setting.
ALLOWED = {
    "model.norm": ("layer", "rms", "scale"),
    "model.pooling": ("mean", "last"),
    "model.context": (0,),
    "model.window": (0,),
    "mixer.bidirectional": (False,),
}


def check(config: ConfigDict) -> None:
    """Checks that a configuration with a `train.segment` can be trained by segments.

    Raises:
        SettingError: it cannot; the sentence names the setting in the way and the values allowed.
    """
    if not config.train.segment:
        return
    # Masks inside a mixer are drawn for whole sequences.
    undropped = {f"mixer.{name}": (0,) for name in config.mixer if name.endswith("dropout")}
    check_allowed(config, ALLOWED | undropped, "train.segment is not 0")
    if issubclass(registry.subclass("mixers", config.model.mixer, Mixer), WholeMixer):
        what = f"needs a causal mixer, which {config.model.mixer} is not: it must be 0; got {config.train.segment}"
        raise SettingError("train.segment", what)


def check_model(model: Classifier, config: ConfigDict) -> None:
    """Checks that the blocks of a model carry states of all positions of its longest sequence.

    Raises:
        SettingError: a mixer is not causal, or its state forgets.
    """
    if not (segment := config.train.get("segment", 0)):
        return
    try:
        for block in model.blocks:
            block.initial_state(1)
    except TypeError as error:
        raise SettingError("train.segment", f"must be 0; got {segment}: {error}") from error
    # A state that grows with the length is as long as this option.
    kept, length = config.mixer.get("max_steps", config.task.max_length), config.task.max_length
    if model.state_size is None and kept < length:
        what = f"must be at least the length {length} where train.segment is not 0; got {kept}"
        raise SettingError("mixer.max_steps", what)


def logits(
    graph: nnx.GraphDef,
    params: Any,
    stats: Any,
    inputs: jax.Array,
    lengths: jax.Array | None,
    *,
    segment: int,
    key: jax.Array | None = None,
) -> jax.Array:
    """Logits of a batch as those of `Classifier.__call__`, with the gradient of the states cut between segments.

    Args:
        graph: of a classifier; `nnx.merge(graph, params, stats)` is the model.
        params: pure tree of parameters.
        stats: pure tree of the other arrays, which are constants.
        inputs: (b, documents, l) token ids or gray levels.
        lengths: (b, documents) true lengths, or None where every position is true.
        segment: positions of a segment, at least 1.
        key: random key for dropout, None: no dropout.

    Returns:
        (b, c). Mean pooling adds up all segments; with last pooling, only the segment of the last true position has a
        gradient for the blocks.
    """
    model = nnx.merge(graph, params, stats)
    tokens, lengths = as_documents(inputs, lengths)
    size = min(segment, tokens.shape[1])
    padded = lengths is not None or tokens.shape[1] % size != 0
    lengths = jnp.full(len(tokens), tokens.shape[1]) if lengths is None else lengths
    tokens = jnp.pad(tokens, ((0, 0), (0, -tokens.shape[1] % size), *[(0, 0)] * (tokens.ndim - 2)))
    # Segments come first, as the scan takes them.
    segments = jnp.moveaxis(tokens.reshape(len(tokens), -1, size, *tokens.shape[2:]), 1, 0)
    begins = size * jnp.arange(len(segments))
    part = partial(_pooled_part, graph, padded and model.mask_padding)
    states = [block.initial_state(len(tokens)) for block in model.blocks]
    return model.classify(summed(part, params, (stats, lengths, key), states, (begins, segments)))


def _pooled_part(
    graph: nnx.GraphDef, masked: bool, params: Any, constants: Any, states: Any, segment: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, Any]:
    """What a segment adds to the pooled features (b, h), and the states of the blocks after it."""
    (stats, lengths, key), (begin, tokens) = constants, segment
    model = nnx.merge(graph, params, stats)
    # A mixer may learn the state before the first position.
    initial = [block.initial_state(len(tokens)) for block in model.blocks]
    states = jax.tree.map(partial(jnp.where, begin == 0), initial, states)
    positions, ends = begin + jnp.arange(tokens.shape[1]), lengths[:, None]
    true = positions < ends
    x, states = model.extend_features(tokens, states, begin, mask=true if masked else None, key=key)
    counted = positions == ends - 1 if model.pooling == "last" else true
    pooled = jnp.where(counted[..., None], x, 0).sum(1)
    return pooled if model.pooling == "last" else pooled / ends, states


Part = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def summed(part: Part, params: Any, constants: Any, state: Any, segments: Any) -> Any:
    """The sum of a value over segments, which pass on a state whose gradient is cut.

    No state is kept for the gradient: the backward pass computes the segments again from the first to the last, which
    the cut allows, each with its own gradient. Memory is that of one segment, and time that of two forward passes and
    a backward pass.

    Args:
        part: (params, constants, state, segment) -> (value, next state).
        params: a tree of arrays, with respect to which the sum is differentiable.
        constants: a tree of arrays.
        state: before the first segment, a constant.
        segments: a tree of arrays with one more axis in front, the number of segments.

    Returns:
        A tree of arrays as the value of `part`.
    """

    def add(carry: Any, segment: Any) -> tuple[Any, None]:
        total, state = carry
        value, state = part(params, constants, state, segment)
        return (jax.tree.map(jnp.add, total, value), state), None

    first = jax.tree.map(lambda array: array[0], segments)
    value, _ = jax.eval_shape(part, params, constants, state, first)
    zeros = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), value)
    return jax.lax.scan(add, (zeros, state), segments)[0][0]


def _summed_forward(part: Part, params: Any, constants: Any, state: Any, segments: Any) -> tuple[Any, Any]:
    return summed(part, params, constants, state, segments), (params, constants, state, segments)


def _summed_backward(part: Part, residuals: Any, gradient: Any) -> tuple[Any, None, None, None]:
    params, constants, state, segments = residuals

    def add(carry: Any, segment: Any) -> tuple[Any, None]:
        total, state = carry
        _, pull, state = jax.vjp(lambda params: part(params, constants, state, segment), params, has_aux=True)
        return (jax.tree.map(jnp.add, total, pull(gradient)[0]), state), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, (zeros, state), segments)[0][0], None, None, None


summed.defvjp(_summed_forward, _summed_backward)
