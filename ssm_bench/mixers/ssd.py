"""SSD: the mixer of Mamba-2, a selective state space model with one decay a head, computed by matrix products."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, Spectrum, StepSize


class SSD(RecurrentMixer):
    """For each head: h_t = exp(delta_t A) h_{t-1} + delta_t x_t B_t^T, y_t = h_t C_t + D x_t, with numbers delta, A, D.

    A head has p = width / heads channels and a state (p, n). B_t, C_t (n, shared by the heads) and delta_t (heads) are
    linear in the input, the step size through a softplus. Gate, norm and short convolution of Mamba-2 are the scaffold
    "mamba" with `norm_gated`. A bidirectional layer adds a second set of parameters that reads from the end.
    Cost: O(b l h (n + k)) operations with chunks of k = 64, and h n states.

    Source: Dao and Gu 2024, "Transformers are SSMs" (arXiv 2405.21060).
    """

    traits = Traits(parametrization="LTV", discretization="zoh", structure="SISO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 128,
        heads: int = 4,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            state_size: n.
            heads: heads; must divide h. The authors take h / 64.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per head.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes or steps.
        """
        if state_size < 1:
            raise ArgumentError("state_size", f"must be at least 1; got {state_size}")
        if heads < 1 or d_model % heads:
            raise ArgumentError("heads", f"must divide the width {d_model}; got {heads}")
        super().__init__(
            lambda: SSDCell(d_model, state_size, heads, (dt_min, dt_max), rngs), bidirectional=bidirectional
        )


class SSDCell(nnx.Module):
    """The recurrence in one direction, with its parameters."""

    def __init__(self, width: int, state_size: int, heads: int, steps: tuple[float, float], rngs: nnx.Rngs):
        """Creates log(-A) (heads), -A uniform in [1, 16]; the projections; and D (heads)."""
        self.log_decay = Spectrum(jnp.log(jax.random.uniform(rngs.params(), (heads,), minval=1.0, maxval=16.0)))
        #: To B and C, side by side.
        self.projection = Linear(width, 2 * state_size, bias=False, rngs=rngs)
        self.dt_kernel = StepSize(jax.nn.initializers.lecun_normal()(rngs.params(), (width, heads)))
        self.dt_bias = StepSize(ops.softplus_step(rngs.params(), (heads,), *steps))
        self.D = Feedthrough(jnp.ones(heads))
        self.heads = heads
        self.head_shape = (width // heads, state_size)

    def initial_state(self, batch: int) -> Float[Array, "{batch} heads p n"]:
        """Zeros (b, heads, p, n)."""
        return jnp.zeros((batch, self.heads, *self.head_shape), self.log_decay.dtype)

    def extend(
        self, x: Float[Array, "b k h"], state: Float[Array, "b heads p n"]
    ) -> tuple[Float[Array, "b k h"], Float[Array, "b heads p n"]]:
        """A chunk (b, k, h) and the state before it."""
        B, C = jnp.split(self.projection(x), 2, axis=-1)
        y, state = ops.ssd(
            x.reshape(*x.shape[:2], self.heads, -1),
            jax.nn.softplus(x @ self.dt_kernel[...].astype(x.dtype) + self.dt_bias[...]),
            -jnp.exp(self.log_decay[...]),
            B,
            C,
            self.D[...],
            h0=state,
            return_last_state=True,
        )
        return y.reshape(x.shape), state

    @property
    def state_size(self) -> int:
        """h n real numbers."""
        width, state_size = self.head_shape
        return self.heads * width * state_size
