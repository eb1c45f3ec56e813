"""The linear RNN: a recurrent network without its nonlinearity, with a dense state matrix."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.mixer import Mixer, Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum


class LinearRNN(Mixer):
    """x_t = A x_{t-1} + B u_t, y_t = C x_t + D u_t, all real, A dense (n, n).

    The first step of the LRU's paper from a recurrent network to its own layer. A bidirectional layer runs the same
    recurrence from both ends with an output matrix each, as the LRU does here. Cost: O(b l n (n + h)) operations; on
    accelerators in O(log l) depth, by products with the powers of A.

    Source: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences" (arXiv 2303.06349),
    section 3.1.
    """

    traits = Traits(parametrization="LTI", discretization="none", structure="MIMO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        radius: float = 1.0,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates A (n, n), B (n, h), C (1 or 2, h, n) and D (h).

        Args:
            d_model: width h.
            state_size: number n of states.
            radius: of the disk that the eigenvalues of A fill as n grows: its entries are normal with standard
                deviation radius / sqrt(n), Glorot's at 1. An eigenvalue beyond 1 grows with the length without bound.
            bidirectional: run from both ends.
            rngs: random keys.

        Raises:
            UserError: a size below 1, or a radius that is not a number above 0.
        """
        if state_size < 1:
            raise ArgumentError("state_size", f"must be at least 1; got {state_size}")
        if not 0 < radius < math.inf:
            raise ArgumentError("radius", f"must be a number above 0; got {radius}")
        directions = 2 if bidirectional else 1
        self.A = Spectrum(_normal(rngs, (state_size, state_size), radius**2 / state_size))
        self.B = InputMatrix(_normal(rngs, (state_size, d_model), 1 / d_model))
        self.C = OutputMatrix(_normal(rngs, (directions, d_model, state_size), 1 / state_size))
        self.D = Feedthrough(_normal(rngs, (d_model,), 1.0))
        self.causal = not bidirectional

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), whole sequences."""
        b = self._inputs(x)
        y = self._outputs(ops.dense_recurrence(self.A[...], b), self.C[...][0], x)
        if not self.causal:
            y = y + self._outputs(ops.dense_recurrence(self.A[...], b, reverse=True), self.C[...][1], x)
        return self._with_feedthrough(y, x)

    def _inputs(self, x: Array) -> Array:
        return x @ self.B[...].T.astype(x.dtype)

    def _outputs(self, states: Array, C: Array, x: Array) -> Array:
        return states.astype(x.dtype) @ C.T.astype(x.dtype)

    def _with_feedthrough(self, y: Array, x: Array) -> Array:
        return (y + self.D[...] * x).astype(x.dtype)

    def initial_state(self, batch: int) -> Float[Array, "{batch} n"]:
        """Zeros (b, n)."""
        if not self.causal:
            return super().initial_state(batch)
        return jnp.zeros((batch, self.A.shape[0]), self.A[...].dtype)

    def extend(
        self, x: Float[Array, "b k h"], state: Float[Array, "b n"]
    ) -> tuple[Float[Array, "b k h"], Float[Array, "b n"]]:
        """A chunk (b, k, h) at once."""
        if not self.causal:
            return super().extend(x, state)
        states = ops.dense_recurrence(self.A[...], self._inputs(x), h0=state)
        return self._with_feedthrough(self._outputs(states, self.C[...][0], x), x), states[:, -1]

    @property
    def state_size(self) -> int:
        """Real numbers carried along time, in both directions together: n for each."""
        return self.A.shape[0] * self.C.shape[0]


def _normal(rngs: nnx.Rngs, shape: tuple[int, ...], variance: float) -> Array:
    return math.sqrt(variance) * jax.random.normal(rngs.params(), shape)
