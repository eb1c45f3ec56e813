"""What linear state space models with one system per channel (SISO) share: a convolution that is also a recurrence."""

import abc
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import Feedthrough, OutputMatrix


class ConvolutionMixer(Mixer):
    """y = kernel * u + D u for each channel; with two kernels also backward.

    The backward kernel starts one step ahead, so that the present step is counted once. A subclass creates `C` (1 or 2,
    h, n), with a last axis for real pairs if it is complex, and `D` (h,), sets `causal`, and says the same system
    twice: by its kernels, and by its recurrence.
    """

    C: OutputMatrix
    D: Feedthrough

    @abc.abstractmethod
    def _kernels(self, length: int) -> Array:
        """The impulse responses (1 or 2, h, length): forward, and backward if there is one."""

    @abc.abstractmethod
    def _discrete(self) -> Any:
        """The discrete forward system, as `_advance` takes it: made once for a chunk of steps."""

    @abc.abstractmethod
    def _advance(self, system: Any, x_t: Array, state: Array) -> tuple[Array, Array]:
        """One step of the recurrence: x_t (b, h) and the state give y_t (b, h), without D, and the next state."""

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), whole sequences."""
        kernels = self._kernels(x.shape[1])
        # D is one more tap, of the present input: so it costs no pass over the activations.
        forward = kernels[0].at[:, 0].add(self.D[...])
        return ops.causal_conv(x, forward) if self.causal else ops.bidirectional_conv(x, forward, kernels[1])

    def initial_state(self, batch: int) -> Inexact[Array, "{batch} h n"]:
        """Zeros (b, h, n), complex if C is."""
        if not self.causal:
            return super().initial_state(batch)
        real = self.C[...].dtype
        return jnp.zeros(
            (batch, *self.C.shape[1:3]), real if self.C.ndim == 3 else jnp.result_type(real, jnp.complex64)
        )

    def extend(
        self, x: Float[Array, "b k h"], state: Inexact[Array, "b h n"]
    ) -> tuple[Float[Array, "b k h"], Inexact[Array, "b h n"]]:
        """A chunk (b, k, h), step by step."""
        if not self.causal:
            return super().extend(x, state)
        system = self._discrete()

        def step(state: Array, x_t: Array) -> tuple[Array, Array]:
            y_t, state = self._step(system, x_t, state)
            return state, y_t

        state, y = jax.lax.scan(step, state, jnp.moveaxis(x, 1, 0))
        return jnp.moveaxis(y, 0, 1), state

    def step(
        self, x_t: Float[Array, "b h"], state: Inexact[Array, "b h n"]
    ) -> tuple[Float[Array, "b h"], Inexact[Array, "b h n"]]:
        """One step: (b, h) -> (b, h)."""
        return self._step(self._discrete(), x_t, state) if self.causal else super().step(x_t, state)

    def _step(self, system: Any, x_t: Array, state: Array) -> tuple[Array, Array]:
        y_t, state = self._advance(system, x_t, state)
        return self._with_feedthrough(y_t, x_t), state

    def _with_feedthrough(self, y: Array, x: Array) -> Array:
        return (y + self.D[...] * x).astype(x.dtype)

    @property
    def state_size(self) -> int:
        """Real numbers carried along time, in both directions together: one for each of C."""
        return math.prod(self.C.shape)


def check_pairs(state_size: int) -> int:
    """The number of complex modes of a state that counts both of each conjugate pair.

    Raises:
        UserError: an odd number of states, or none.
    """
    if state_size < 2 or state_size % 2:
        raise ArgumentError("state_size", f"counts conjugate pairs and must be even and at least 2; got {state_size}")
    return state_size // 2


def check_copies(copies: int, channels: int) -> int:
    """The number of independent systems, where 0 stands for one for each channel.

    Raises:
        UserError: a number that does not divide the channels.
    """
    if copies < 0 or channels % (copies or channels):
        raise ArgumentError("copies", f"must divide the width {channels}, or be 0; got {copies}")
    return copies or channels


def deal(array: Inexact[Array, "copies n"], channels: int) -> Inexact[Array, "{channels} n"]:
    """Deals the rows of (copies, n) to the channels in turn: (channels, n)."""
    return jnp.tile(array, (channels // array.shape[0], 1))
