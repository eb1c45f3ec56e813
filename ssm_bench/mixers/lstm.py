"""LSTM: long short-term memory, a nonlinear recurrence run step by step."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Exempt


class LSTM(RecurrentMixer):
    """c_t = f_t c_{t-1} + i_t g_t, h_t = o_t tanh(c_t), with gates that see the input and h_{t-1}.

    What the inputs give to the gates is one matrix product for the whole sequence; the rest is a loop over time, one
    matrix product a step. A bidirectional layer adds a second cell run from the end. Cost: O(b l n (h + n))
    operations, O(l) depth: on long sequences many times slower than a linear recurrence.

    Source: Hochreiter and Schmidhuber 1997, "Long short-term memory"; forget gate: Gers et al. 2000.
    """

    traits = Traits(parametrization="nonlinear", discretization="none", structure="MIMO", implementation="recurrence")

    def __init__(self, d_model: int, *, state_size: int = 0, bidirectional: bool = False, rngs: nnx.Rngs):
        """Creates one or two cells.

        Args:
            d_model: width h.
            state_size: n, hidden units in each direction; 0: h.
            bidirectional: run from both ends.
            rngs: random keys.

        Raises:
            UserError: a negative size.
        """
        if state_size < 0:
            raise ArgumentError("state_size", f"must be at least 1, or 0 for the width; got {state_size}")
        super().__init__(lambda: LSTMCell(d_model, state_size or d_model, rngs=rngs), bidirectional=bidirectional)


class LSTMCell(nnx.Module):
    """The cell, and a linear map of its n outputs where the width is another."""

    def __init__(self, d_model: int, n: int, *, rngs: nnx.Rngs):
        """Creates the maps of the inputs (LeCun normal) and of the state (orthogonal for each gate).

        The forget gates start with a bias of 1, open (Jozefowicz, Zaremba and Sutskever 2015).
        """
        self.input = Linear(d_model, 4 * n, bias=False, rngs=rngs)
        self.bias = Exempt(jnp.zeros(4 * n).at[n : 2 * n].set(1.0))
        orthogonal = jax.nn.initializers.orthogonal()
        self.recurrent = nnx.Param(jnp.concatenate([orthogonal(rngs.params(), (n, n)) for _ in range(4)], axis=1))
        self.output = Linear(n, d_model, rngs=rngs) if n != d_model else None

    def initial_state(self, batch: int) -> tuple[Float[Array, "{batch} n"], Float[Array, "{batch} n"]]:
        """Zeros h and c, (b, n) each."""
        zeros = jnp.zeros((batch, self.recurrent.shape[0]), self.recurrent[...].dtype)
        return zeros, zeros

    def extend(
        self, x: Float[Array, "b k h"], state: tuple[Float[Array, "b n"], Float[Array, "b n"]]
    ) -> tuple[Float[Array, "b k h"], tuple[Float[Array, "b n"], Float[Array, "b n"]]]:
        """A chunk (b, k, h) and the state before it."""
        h, state = ops.lstm(self.input(x) + self.bias[...], self.recurrent[...], *state)
        y = h.astype(x.dtype)
        return y if self.output is None else self.output(y), state

    @property
    def state_size(self) -> int:
        """Real numbers carried per sequence: n outputs and n cells."""
        return 2 * self.recurrent.shape[0]
