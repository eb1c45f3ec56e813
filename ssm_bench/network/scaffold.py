"""The interface of a scaffold: the residual block that a sequence mixer sits in."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

from ssm_bench.network.mixer import Mixer


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What the backbone hands to every scaffold.

    Attributes:
        d_model: width h of the residual stream.
        mixer: makes a mixer of a given width; a scaffold may widen or narrow what the mixer sees.
        norm: makes a norm of a given width.
        prenorm: norm before the branch (True) or after the residual sum (False).
        dropout: rate in [0, 1).
        tie_dropout: one dropout mask for all positions.
        layers: number of blocks in the backbone, for initialisers that depend on depth.
    """

    d_model: int
    mixer: Callable[[int, nnx.Rngs], Mixer]
    norm: Callable[[int], Any]
    prenorm: bool
    dropout: float
    tie_dropout: bool
    layers: int


class Scaffold(nnx.Module, abc.ABC):
    """One residual block. A subclass is final and lives in `ssm_bench.scaffolds.<name>`.

    Its constructor takes `slots`, its own keyword options, and `rngs`; it keeps its mixer in `self.mixer`.
    """

    mixer: Mixer

    @abc.abstractmethod
    def __call__(
        self, x: jax.Array, mask: jax.Array | None, *, train: bool = False, key: jax.Array | None = None
    ) -> jax.Array:
        """Maps the residual stream x (b, l, h) to the next one; mask as for a mixer, key for dropout."""
