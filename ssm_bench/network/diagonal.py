"""What S5 and the LRU share: one diagonal recurrence with many inputs and outputs."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix


class DiagonalMixer(Mixer):
    """y_t = Re(C x_t) + D u_t with x_t = a x_{t-1} + B u_t; with two output matrices also run from the end.

    A subclass creates `B` (states, h, 2), `C` (1 or 2, h, states, 2) and `D` (h,), says in `_system` what they mean,
    and sets `causal`.
    """

    B: InputMatrix
    C: OutputMatrix
    D: Feedthrough

    @abc.abstractmethod
    def _system(self) -> tuple[Array, Array, Array]:
        """The discrete system: log a (states), B (states, h), C (1 or 2, h, states), complex."""

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), whole sequences."""
        log_a, B, C = self._system()
        return self._with_feedthrough(ops.diagonal_ssm(x, log_a, B, C[0] if self.causal else C), x)

    @property
    def divides_time(self) -> bool:
        """True: the recurrence is all that relates positions."""
        return True

    def initial_state(self, batch: int) -> Complex[Array, "{batch} states"]:
        """Zeros (b, states), complex."""
        if not self.causal:
            return super().initial_state(batch)
        return jnp.zeros((batch, self.B.shape[0]), jnp.result_type(self.B[...], jnp.complex64))

    def extend(
        self, x: Float[Array, "b k h"], state: Complex[Array, "b states"]
    ) -> tuple[Float[Array, "b k h"], Complex[Array, "b states"]]:
        """A chunk (b, k, h) at once."""
        if not self.causal:
            return super().extend(x, state)
        log_a, B, C = self._system()
        y, state = ops.diagonal_ssm_extend(x, state, log_a, B, C[0])
        return self._with_feedthrough(y, x), state

    def step(
        self, x_t: Float[Array, "b h"], state: Complex[Array, "b states"]
    ) -> tuple[Float[Array, "b h"], Complex[Array, "b states"]]:
        """One step: (b, h) -> (b, h)."""
        if not self.causal:
            return super().step(x_t, state)
        log_a, B, C = self._system()
        y_t, state = ops.diagonal_ssm_step(x_t, state, log_a, B, C[0])
        return self._with_feedthrough(y_t, x_t), state

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Complex[Array, " states"]:
        """The diagonal a (states,), whatever the inputs."""
        return jnp.exp(self._system()[0])

    def _with_feedthrough(self, y: Array, x: Array) -> Array:
        return (y + self.D[...] * x).astype(x.dtype)

    @property
    def state_size(self) -> int:
        """Real numbers carried along time: two for each complex state, in both directions together."""
        return 2 * self.B.shape[0] * self.C.shape[0]
