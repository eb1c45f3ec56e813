"""The interface of a sequence mixer."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What kind of system a mixer is: the columns of Table I of the control theoretic overview (arXiv 2403.16899).

    Attributes:
        parametrization: "LTI" (linear, constant in time), "LTV" (linear in the state, with coefficients that depend on
            the input) or "nonlinear".
        discretization: the rule that makes it discrete, "none" for one that was never continuous; a mixer with the
            option `discretization` gives the default of that option.
        structure: "SISO", each channel a system of its own, or "MIMO", channels meet inside.
        implementation: how whole sequences are computed: "convolution", "scan", "recurrence" or "matrix product".
    """

    parametrization: str
    discretization: str
    structure: str
    implementation: str


class Mixer(nnx.Module, abc.ABC):
    """Maps a sequence (b, l, h) to a sequence (b, l, h); the only part of a model that looks along time.

    A subclass is final, lives in `ssm_bench.models.<name>`, says its `traits`, and its constructor takes `d_model`, its
    own keyword options, and `rngs`. One with `bidirectional=True` has no step mode.
    """

    traits: ClassVar[Traits]

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

    def extend(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """Goes on with a sequence by a chunk: x (b, k, h) and the state give (b, k, h) and the next state.

        A sequence in chunks gives what it gives in one pass. Here step by step; a mixer that can do a chunk in parallel
        says so by a method of its own.
        """

        def step(state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
            y_t, state = self.step(x_t, state)
            return state, y_t

        state, y = jax.lax.scan(step, state, jnp.moveaxis(x, 1, 0))
        return jnp.moveaxis(y, 0, 1), state

    @property
    @abc.abstractmethod
    def state_size(self) -> int | None:
        """Real numbers carried per sequence in step mode; None where it grows with the length."""
