"""The interface of a scaffold: the residual block that a sequence mixer sits in."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

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
        index: which block this is, from 0, for scaffolds whose blocks differ.
    """

    d_model: int
    mixer: Callable[[int, nnx.Rngs], Mixer]
    norm: Callable[[int], Any]
    prenorm: bool
    dropout: float
    tie_dropout: bool
    layers: int
    index: int = 0


#: Runs a part of a scaffold that looks along time: the part's name, its input (b, l, w) and a key for dropout.
Along = Callable[[str, jax.Array, jax.Array | None], jax.Array]


class Scaffold(nnx.Module, abc.ABC):
    """One residual block. A subclass is final and lives in `ssm_bench.scaffolds.<name>`.

    Its constructor takes `slots`, its own keyword options, and `rngs`; it keeps its mixer in `self.mixer`, and names in
    `temporal` all parts that look along time. It writes its computation once, in `block`; whole sequences and step mode
    both run it.
    """

    #: Attributes with `__call__(x, mask, key=)`, `initial_state`, `extend` and `state_size`, like a mixer.
    temporal: ClassVar[tuple[str, ...]] = ("mixer",)

    mixer: Mixer

    @abc.abstractmethod
    def block(
        self, x: jax.Array, along: Along, *, mask: jax.Array | None, train: bool, key: jax.Array | None
    ) -> jax.Array:
        """Maps the residual stream x (b, l, h) to the next one.

        Args:
            x: the residual stream.
            along: `along("mixer", u, key)` is the mixer's output for u; likewise for each part named in `temporal`.
                Everything else a block does must treat each position by itself.
            mask: (b, l) or None, for norms.
            train: batch norm uses and updates batch statistics.
            key: random key for dropout, None: no dropout.
        """

    def __call__(
        self, x: jax.Array, mask: jax.Array | None, *, train: bool = False, key: jax.Array | None = None
    ) -> jax.Array:
        """Whole sequences, (b, l, h) -> (b, l, h); mask as for a mixer, key for dropout."""

        def along(part: str, u: jax.Array, key: jax.Array | None) -> jax.Array:
            return getattr(self, part)(u, mask, key=key)

        return self.block(x, along, mask=mask, train=train, key=key)

    def initial_state(self, batch: int) -> dict[str, Any]:
        """The states of all temporal parts before the first step.

        Raises:
            TypeError: a part is not causal.
        """
        return {part: getattr(self, part).initial_state(batch) for part in self.temporal}

    def extend(self, x: jax.Array, state: dict[str, Any]) -> tuple[jax.Array, dict[str, Any]]:
        """Goes on with a sequence by a chunk, as `Mixer.extend` does."""
        new = dict(state)

        def along(part: str, u: jax.Array, key: jax.Array | None) -> jax.Array:
            y, new[part] = getattr(self, part).extend(u, state[part])
            return y

        return self.block(x, along, mask=None, train=False, key=None), new

    @property
    def state_size(self) -> int | None:
        """Real numbers that its parts carry along time per sequence; None where one has no fixed number."""
        sizes = [getattr(self, part).state_size for part in self.temporal]
        return None if None in sizes else sum(sizes)
