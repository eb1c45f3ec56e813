"""GRU: the gated recurrent unit, a nonlinear recurrence run step by step."""

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


class GRU(RecurrentMixer):
    """h_t = (1 - z_t) c_t + z_t h_{t-1}, with a reset and an update gate that see the input and h_{t-1}.

    What the inputs give to the gates is one matrix product for the whole sequence; the rest is a loop over time, one
    matrix product a step. A bidirectional layer adds a second unit run from the end. Cost: O(b l n (h + n))
    operations, O(l) depth: on long sequences many times slower than a linear recurrence.

    Source: Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder" (arXiv 1406.1078).
    """

    traits = Traits(parametrization="nonlinear", discretization="none", structure="MIMO", implementation="recurrence")

    def __init__(self, d_model: int, *, state_size: int = 0, bidirectional: bool = False, rngs: nnx.Rngs):
        """Creates one or two units.

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
        super().__init__(lambda: GRUCell(d_model, state_size or d_model, rngs=rngs), bidirectional=bidirectional)


class GRUCell(nnx.Module):
    """The unit, and a linear map of its n outputs where the width is another."""

    def __init__(self, d_model: int, n: int, *, rngs: nnx.Rngs):
        """Creates the maps of the inputs (LeCun normal) and of the state (orthogonal for each gate)."""
        self.input = Linear(d_model, 3 * n, rngs=rngs)
        orthogonal = jax.nn.initializers.orthogonal()
        self.recurrent = nnx.Param(jnp.concatenate([orthogonal(rngs.params(), (n, n)) for _ in range(3)], axis=1))
        self.recurrent_bias = Exempt(jnp.zeros(n))
        self.output = Linear(n, d_model, rngs=rngs) if n != d_model else None

    def initial_state(self, batch: int) -> Float[Array, "{batch} n"]:
        """Zeros (b, n)."""
        return jnp.zeros((batch, self.recurrent.shape[0]), self.recurrent[...].dtype)

    def extend(
        self, x: Float[Array, "b k h"], state: Float[Array, "b n"]
    ) -> tuple[Float[Array, "b k h"], Float[Array, "b n"]]:
        """A chunk (b, k, h) and the state before it."""
        h = ops.gru(self.input(x), self.recurrent[...], self.recurrent_bias[...], state)
        y = h.astype(x.dtype)
        return y if self.output is None else self.output(y), h[:, -1]

    @property
    def state_size(self) -> int:
        """Real numbers carried per sequence: n."""
        return self.recurrent.shape[0]
