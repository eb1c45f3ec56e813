"""Recurrent mixers that read a sequence forward, or forward and backward with a cell for each."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.network.mixer import Mixer


@runtime_checkable
class Cell(Protocol):
    """A causal recurrence with its parameters; an nnx.Module."""

    def initial_state(self, batch: int) -> Any:
        """The state before the first step: a pytree of arrays with leading axis `batch`."""
        ...

    def extend(self, x: Float[Array, "b k h"], state: Any) -> tuple[Float[Array, "b k h"], Any]:
        """A chunk x (b, k, h) and the state before it give (b, k, h) and the state after it."""
        ...

    @property
    def state_size(self) -> int:
        """Real numbers carried per sequence."""
        ...


class RecurrentMixer(Mixer):
    """One cell run from the start; a bidirectional one adds the output of a second cell run from the end.

    The second cell has parameters of its own and starts at the last true position; both see the present step. Cells
    never see a mask: padding comes after all true positions in either direction.
    """

    def __init__(self, cell: Callable[[], Any], *, bidirectional: bool):
        """Creates one or two cells; `cell` makes one."""
        self.forward = cell()
        self.backward = cell() if bidirectional else None
        self.causal = not bidirectional

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), whole sequences."""
        y = self._run(self.forward, x)
        if self.backward is not None:
            y = y + reverse(self._run(self.backward, reverse(x, mask)), mask)
        return y

    def _run(self, cell: Cell, x: Array) -> Array:
        return cell.extend(x, cell.initial_state(x.shape[0]))[0]

    def initial_state(self, batch: int) -> Any:
        """The cell's state before the first step."""
        return self.forward.initial_state(batch) if self.causal else super().initial_state(batch)

    def extend(self, x: Float[Array, "b k h"], state: Any) -> tuple[Float[Array, "b k h"], Any]:
        """A chunk (b, k, h) at once."""
        return self.forward.extend(x, state) if self.causal else super().extend(x, state)

    @property
    def state_size(self) -> int:
        """Real numbers carried along time, in both directions together."""
        return self.forward.state_size * (1 if self.causal else 2)


def reverse(x: Float[Array, "b l *channels"], mask: Bool[Array, "b l"] | None) -> Float[Array, "b l *channels"]:
    """Reverses the true positions of x (b, l, ...); padding (mask False, on the right) stays where it is."""
    if mask is None:
        return jnp.flip(x, axis=1)
    lengths = mask.sum(axis=1, keepdims=True)
    t = jnp.arange(x.shape[1])
    order = jnp.where(mask, lengths - 1 - t, t)
    return jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), axis=1)
