"""A sequence mixer in fifteen lines: an exponential moving average of every channel."""

import jax
import jax.numpy as jnp
from flax import nnx

from ssm_bench import ops
from ssm_bench.network.mixer import Mixer, Traits
from ssm_bench.network.parameters import Spectrum


class EMA(Mixer):
    """h_t = a h_{t-1} + (1 - a) x_t with a learned decay a in (0, 1) for each channel."""

    traits = Traits(parametrization="LTI", discretization="none", structure="SISO", implementation="scan")
    causal = True

    def __init__(self, d_model: int, *, longest: float = 100.0, rngs: nnx.Rngs):
        """Creates the decays; their time constants are spaced evenly, on a logarithmic scale, from 1 to `longest`."""
        self.d_model = d_model
        self.logit = Spectrum(jnp.log(jnp.geomspace(1.0, longest, d_model)))

    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, key: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h)."""
        return self.extend(x, self.initial_state(len(x)))[0]

    def initial_state(self, batch: int) -> jax.Array:
        """Zeros (b, h)."""
        return jnp.zeros((batch, self.d_model))

    def extend(self, x: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A chunk (b, k, h) and the state before it give (b, k, h) and the state after it."""
        decay = jax.nn.sigmoid(self.logit[...])
        h = ops.linear_recurrence(decay, (1 - decay) * x, h0=state)
        return h.astype(x.dtype), h[:, -1]

    @property
    def state_size(self) -> int:
        """h, one number for each channel."""
        return self.d_model
