"""The interface of a scaffold: the residual block around a sequence mixer.

The checks of inputs and the treatment of padding are here, once for all mixers: `check_inputs`, `run_part` and
`extend_part`.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.errors import UserError
from ssm_bench.network.mixer import Mixer


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What the backbone passes to every scaffold.

    Attributes:
        d_model: width h of the residual stream.
        mixer: creates a mixer of a given width; a scaffold may choose another width than h.
        norm: creates a norm of a given width.
        prenorm: norm before the branch (True) or after the residual sum (False).
        dropout: rate in [0, 1).
        tie_dropout: one dropout mask for all positions.
        layers: number of blocks in the backbone, for initializers that depend on the depth.
        index: number of this block, from 0, for scaffolds whose blocks differ.
    """

    d_model: int
    mixer: Callable[[int, nnx.Rngs], Mixer]
    norm: Callable[[int], Any]
    prenorm: bool
    dropout: float
    tie_dropout: bool
    layers: int
    index: int = 0


@runtime_checkable
class Part(Protocol):
    """A part of a block that relates positions to each other: a mixer, or a short convolution."""

    def __call__(
        self, x: Float[Array, "b l w"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l w"]:
        """As `Mixer.__call__`."""
        ...

    def extend(self, x: Float[Array, "b k w"], state: Any) -> tuple[Float[Array, "b k w"], Any]:
        """As `Mixer.extend`."""
        ...


def check_inputs(name: str, x: Array, mask: Array | None, width: int) -> None:
    """Checks shapes and types of a batch of sequences and its mask.

    Args:
        name: what takes them, for the message.
        x: must be (b, l, width), float and not empty.
        mask: must be None or (b, l) bool.
        width: width h.

    Raises:
        UserError: x or the mask does not fit.
    """
    if x.ndim != 3 or x.shape[-1] != width or not x.size or not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(
            f"{name} takes inputs (batch, length, {width}) of a float type, with at least one sequence and position; "
            f"got {x.dtype} of shape {x.shape}"
        )
    if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != bool):
        raise UserError(
            f"{name} takes a mask of bool {x.shape[:2]} for inputs {x.shape}; got {mask.dtype} of shape {mask.shape}"
        )


def run_part(
    part: Part,
    x: Float[Array, "b l w"],
    mask: Bool[Array, "b l"] | None,
    *,
    key: PRNGKeyArray | None = None,
    **more: Array,
) -> Float[Array, "b l w"]:
    """Runs a part on full sequences, with zeros at padded positions, so that not even NaN there reaches a true one.

    Args:
        part: maps (b, l, w) to (b, l, w).
        x: inputs (b, l, w).
        mask: (b, l) bool, true at positions of the sequence, or None.
        key: random key for dropout inside the part.
        **more: arrays that the part also takes, by name; their padding is left as it is.

    Raises:
        UserError: the part returns another shape or type than that of x.
    """
    x = x if mask is None else jnp.where(mask[..., None], x, 0)
    return _checked_output(part, x, part(x, mask, key=key, **more))


def extend_part(part: Part, x: Float[Array, "b k w"], state: Any, **more: Array) -> tuple[Float[Array, "b k w"], Any]:
    """Runs a part on a chunk (b, k, w), which has no padding; returns its output and the next state.

    Raises:
        UserError: the part returns another shape or type than that of x.
    """
    y, state = part.extend(x, state, **more)
    return _checked_output(part, x, y), state


def _checked_output(part: Part, x: Array, y: Array) -> Array:
    expected = jnp.result_type(x)
    if y.shape != x.shape or y.dtype != expected:
        raise UserError(
            f"{type(part).__name__} must return the shape and type of its input, {expected} {x.shape}; "
            f"got {y.dtype} {y.shape}"
        )
    return y


#: Runs a part of a scaffold that relates positions: the part's name, its input (b, l, w) and a key for dropout. Further
#: arrays, by name, are passed on to the part.
Along = Callable[..., Array]


class Scaffold(nnx.Module, abc.ABC):
    """One residual block. A subclass is final and lives in `ssm_bench.scaffolds.<name>`.

    Its constructor takes `slots`, its own keyword options, and `rngs`, and calls `super().__init__(slots)`. It keeps
    its mixer in `self.mixer`, and names in `temporal` all parts that relate positions to each other. The computation is
    written once, in `block`, for full sequences and for step mode.
    """

    #: Names of attributes that are each a `Part` with `initial_state` and `state_size`, like a mixer.
    temporal: ClassVar[tuple[str, ...]] = ("mixer",)

    mixer: Mixer

    def __init__(self, slots: Slots):
        """Keeps the width of the residual stream."""
        self.d_model = slots.d_model

    @abc.abstractmethod
    def block(
        self,
        x: Float[Array, "b l h"],
        along: Along,
        *,
        mask: Bool[Array, "b l"] | None,
        train: bool,
        key: PRNGKeyArray | None,
    ) -> Float[Array, "b l h"]:
        """Maps the residual stream x (b, l, h) to the next one.

        Args:
            x: the residual stream.
            along: `along("mixer", u, key)` is the mixer's output for u; likewise for each part named in `temporal`.
                All other operations of a block must treat each position separately.
            mask: (b, l) or None, for norms.
            train: batch norm uses and updates batch statistics.
            key: random key for dropout, None: no dropout.
        """

    def __call__(
        self,
        x: Float[Array, "b l h"],
        mask: Bool[Array, "b l"] | None,
        *,
        train: bool = False,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "b l h"]:
        """Full sequences, (b, l, h) -> (b, l, h).

        Args:
            x: the residual stream; the values at padded positions reach no true position.
            mask: (b, l) bool, true at positions of the sequence, padding on the right; None: no padding.
            train: batch norm uses and updates batch statistics.
            key: random key for dropout, None: no dropout.

        Raises:
            UserError: inputs or a mask of another shape or type, or a part that returns another one.
        """
        check_inputs(type(self).__name__, x, mask, self.d_model)

        def along(part: str, u: Array, key: Array | None, **more: Array) -> Array:
            return run_part(getattr(self, part), u, mask, key=key, **more)

        return self.block(x, along, mask=mask, train=train, key=key)

    def initial_state(self, batch: int) -> dict[str, Any]:
        """The states of all temporal parts before the first step.

        Raises:
            TypeError: a part is not causal.
        """
        return {part: getattr(self, part).initial_state(batch) for part in self.temporal}

    def extend(self, x: Float[Array, "b k h"], state: dict[str, Any]) -> tuple[Float[Array, "b k h"], dict[str, Any]]:
        """Continues a sequence by a chunk, as `Mixer.extend` does.

        Raises:
            UserError: inputs of another shape or type, or a part that returns another one.
        """
        check_inputs(type(self).__name__, x, None, self.d_model)
        new = dict(state)

        def along(part: str, u: Array, key: Array | None, **more: Array) -> Array:
            y, new[part] = extend_part(getattr(self, part), u, state[part], **more)
            return y

        return self.block(x, along, mask=None, train=False, key=None), new

    @property
    def state_size(self) -> int | None:
        """Real numbers in the states of its parts for one sequence; None if one of them has no fixed number."""
        sizes = [getattr(self, part).state_size for part in self.temporal]
        return None if None in sizes else sum(sizes)
