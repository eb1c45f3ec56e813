"""How far back a layer looks: the gradient of its last output with respect to its inputs, against their distance."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx

from ssm_bench.analysis.subject import Subject, layers
from ssm_bench.errors import unknown_choice

#: What is differentiated: the mixer alone, or the block around it.
PARTS = ("mixer", "block")
#: The share of the gradient that the effective memory length holds.
MASS = 0.9
#: Distances in the table are all up to here, then spaced evenly on a logarithmic axis.
DENSE, SPARSE = 32, 96


def memory(subjects: Iterable[Subject], *, part: str = "mixer", seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The memory of each layer of models.

    Args:
        subjects: models and inputs.
        part: one of PARTS.
        seed: of the random directions.

    Returns:
        Gradients, with columns model, layer, back (k, in steps) and gradient; and a summary, one row a layer, with
        `length` of the inputs and `memory`, the effective memory length.

    Raises:
        UserError: an unknown part.
    """
    if part not in PARTS:
        raise unknown_choice("part", part, PARTS)
    curves, summary = [], []
    for subject in subjects:
        for index, layer in enumerate(layers(subject)):
            whole = part == "block"
            module, x, more = (layer.block, layer.stream, {}) if whole else (layer.block.mixer, layer.mixed, layer.more)
            found = gradients(module, x, more, key=jax.random.key(seed))
            what = {"model": subject.title, "layer": index}
            summary.append(what | {"length": len(found), "memory": effective_length(found)})
            back = distances(len(found))
            curves.append(pd.DataFrame(what | {"back": back, "gradient": found[back]}))
    return pd.concat(curves, ignore_index=True), pd.DataFrame(summary)


def gradients(module: nnx.Module, x: jax.Array, more: dict[str, jax.Array], *, key: jax.Array) -> np.ndarray:
    """The size of d y_l / d x_{l-k} for k = 0, 1, ..., l - 1, where y_l is the output at the last position.

    The size is the Frobenius norm over input and output channels, as root mean square over sequences. It is estimated
    from one gradient a sequence: for random signs v, the mean of |v^T J|^2 is the squared norm of J.

    Args:
        module: a mixer or a block, called as `module(x, None)`.
        x: its inputs (b, l, h).
        more: other arrays that it takes, by name; they stay as they are.
        key: of the random signs.

    Returns:
        (l,), float64; the present position comes first.
    """
    signs = jax.random.rademacher(key, (x.shape[0], x.shape[2]), x.dtype)
    squares = _squares(*nnx.split(module), x, more, signs)
    return np.sqrt(np.asarray(squares, np.float64).mean(0))[::-1]


def effective_length(gradient: np.ndarray) -> int:
    """The smallest k for which distances 0 to k hold 90 % (MASS) of the sum of the gradients (l,)."""
    return int(np.searchsorted(np.cumsum(gradient), MASS * gradient.sum() * (1 - 1e-12)))


def distances(length: int) -> np.ndarray:
    """The distances below `length` that a table lists, increasing."""
    far = np.geomspace(DENSE, max(length - 1, DENSE), SPARSE).round().astype(int)
    every = np.unique(np.concatenate([np.arange(DENSE), far]))
    return every[every < length]


@partial(jax.jit, static_argnums=0)
def _squares(graph: Any, state: Any, x: jax.Array, more: dict[str, jax.Array], signs: jax.Array) -> jax.Array:
    """Squared gradients (b, l), summed over input channels."""
    module = nnx.merge(graph, state)
    gradient = jax.grad(lambda x: jnp.sum(signs * module(x, None, **more)[:, -1]))(x)
    return jnp.sum(jnp.square(gradient.astype(jnp.float32)), axis=-1)
