"""The interface of a sequence mixer."""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Inexact, PRNGKeyArray


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The kind of system that a mixer is: the columns of Table I of the control theoretic overview (arXiv 2403.16899).

    Attributes:
        parametrization: "LTI" (linear, constant in time), "LTV" (linear in the state, with coefficients that depend on
            the input or on the position) or "nonlinear".
        discretization: the rule that makes a continuous system discrete, "none" for a discrete one; a mixer with the
            option `discretization` states the default of that option.
        structure: "SISO" if each channel is a separate system, which other channels affect only through its
            coefficients: with a zero input, its output does not depend on the other channels; otherwise "MIMO".
        implementation: how full sequences are computed: "convolution", "scan", "recurrence", "matrix product"
            or "Fourier transform".
    """

    parametrization: str
    discretization: str
    structure: str
    implementation: str


class Mixer(nnx.Module, abc.ABC):
    """Maps a sequence (b, l, h) to a sequence (b, l, h): the part of a model that relates positions to each other.

    A subclass is final, lives in `ssm_bench.mixers.<name>` and defines its `traits`. Its constructor takes the width
    `d_model`, its own keyword options, and `rngs`. If it names them, it also gets `max_length`, the longest sequence,
    `context`, the number of learned vectors before each sequence (`config.model.context`), and `depth`, the number of
    layers below it divided by that of all layers. A mixer with `bidirectional=True` has no step mode.

    A mixer checks no inputs and need not clear padding: the scaffold around it does both (`run_part` and `extend_part`
    in `ssm_bench.network.scaffold`). Code that calls a mixer directly with a mask sets padded positions to zero first.
    """

    traits: ClassVar[Traits]

    #: True if `__call__` and `extend` take `residual`, the stream (b, l, h) that a block adds the output to; without it
    #: the stream is x. Gates of the mixer choose between the stream and a new value, to which it applies dropout.
    takes_residual: ClassVar[bool] = False

    #: True if each output depends on the present and earlier inputs only, so that step mode exists.
    causal: bool

    @property
    def divides_time(self) -> bool:
        """Whether devices that divide the time axis among them (`train.divide`) exchange no more than states.

        Operations on single positions and `ops.linear_recurrence` allow this.
        """
        return False

    @abc.abstractmethod
    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """Maps full sequences.

        Args:
            x: inputs (b, l, h), float; zero at padded positions.
            mask: (b, l) bool, true at positions of the sequence; padding is on the right. None: no padding.
                Values that a mixer computes at padded positions must not reach a true position.
            key: random key for dropout inside the mixer; None: no dropout.

        Returns:
            (b, l, h) of the same type as x; states are float32 or wider. Values at padded positions are arbitrary.
        """

    def initial_state(self, batch: int) -> Any:
        """The state before the first step: a pytree of arrays with leading axis `batch`.

        Raises:
            TypeError: the mixer is not causal.
        """
        raise TypeError(f"{type(self).__name__} has no step mode: it is not causal")

    def step(self, x_t: Float[Array, "b h"], state: Any) -> tuple[Float[Array, "b h"], Any]:
        """One step: x_t (b, h) and the state give y_t (b, h) and the next state.

        This default runs `extend` on a chunk of one position; a causal mixer defines at least one of the two.

        Raises:
            TypeError: the mixer is not causal, or defines neither.
        """
        if not self.causal:
            raise TypeError(f"{type(self).__name__} has no step mode: it is not causal")
        if type(self).extend is Mixer.extend:
            raise TypeError(f"{type(self).__name__} is causal and must define step or extend")
        y, state = self.extend(x_t[:, None], state)
        return y[:, 0], state

    def extend(self, x: Float[Array, "b k h"], state: Any) -> tuple[Float[Array, "b k h"], Any]:
        """Continues a sequence by a chunk: x (b, k, h) and the state give (b, k, h) and the next state.

        A sequence in chunks gives the same outputs as in one pass. This default runs step by step; a mixer that can
        process a chunk in parallel overrides it.

        Raises:
            TypeError: the mixer is not causal.
        """

        def step(state: Any, x_t: Array) -> tuple[Any, Array]:
            y_t, state = self.step(x_t, state)
            return state, y_t

        state, y = jax.lax.scan(step, state, jnp.moveaxis(x, 1, 0))
        return jnp.moveaxis(y, 0, 1), state

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Inexact[Array, "..."]:
        """Eigenvalues of the matrix that maps each forward state to the next, for `ssm-bench analyze spectrum`.

        Args:
            x: inputs (b, l, h), on which a time-varying transition depends.

        Returns:
            Real or complex, both of each conjugate pair: any shape if the transition is constant in time, otherwise
            (b, l, ...).

        Raises:
            TypeError: the mixer does not define them.
        """
        raise TypeError(f"{type(self).__name__} defines no eigenvalues")

    @property
    @abc.abstractmethod
    def state_size(self) -> int | None:
        """Real numbers in the state of one sequence, in both directions together.

        None if the state grows with the length, or if there is none, as in attention to the full sequence.
        """


class WholeMixer(Mixer):
    """A mixer without a causal form: every output depends on every input, and there is no step mode."""

    causal = False

    @property
    def state_size(self) -> None:
        """None: there is no state."""
        return None
