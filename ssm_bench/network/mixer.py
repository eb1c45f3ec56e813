"""The interface of a sequence mixer."""

import abc
from typing import Any

import jax
from flax import nnx


class Mixer(nnx.Module, abc.ABC):
    """Maps a sequence (b, l, h) to a sequence (b, l, h); the only part of a model that looks along time.

    A subclass is final, lives in `ssm_bench.models.<name>`, and its constructor takes `d_model`, its own
    keyword options, and `rngs`. One with `bidirectional=True` has no step mode.
    """

    #: True where an output depends on earlier inputs only, so that step mode exists.
    causal: bool

    @abc.abstractmethod
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, key: jax.Array | None = None) -> jax.Array:
        """Mixes whole sequences.

        Args:
            x: inputs (b, l, h), float.
            mask: (b, l) bool, True at true positions, padding on the right; None: every position is true.
                With a mask, what stands at padded positions never reaches a true position.
            key: random key for dropout inside the mixer; None turns it off.

        Returns:
            (b, l, h); the values at padded positions mean nothing.
        """

    def initial_state(self, batch: int) -> Any:
        """The state before the first step: a pytree of arrays with leading axis `batch`."""
        raise TypeError(f"{type(self).__name__} has no step mode: it is not causal")

    def step(self, x_t: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """One step: x_t (b, h) and the state give y_t (b, h) and the next state."""
        raise TypeError(f"{type(self).__name__} has no step mode: it is not causal")

    @property
    @abc.abstractmethod
    def state_size(self) -> int | None:
        """Real numbers carried per sequence in step mode; None where it grows with the length."""
