"""HGRN: a diagonal recurrence with forget gates bounded from below and fixed rotations."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Inexact

from ssm_bench import ops
from ssm_bench.network.bounded_gate import LowerBound
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import LayerNorm, Linear
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Spectrum
from ssm_bench.ops.precision import widened

# Slowest rotation, in radians per position, as the longest wavelength of rotary positions.
_SLOWEST = 1e-4


class HGRN(RecurrentMixer):
    """h_t = f_t e^{i theta} h_{t-1} + (1 - f_t) c_t and y_t = W_o layer norm([Re h_t, Im h_t] * sigmoid(W_g x_t)).

    f_t = gamma + (1 - gamma) sigmoid(W_f x_t), where the lower bound gamma is learned, 0 in the first layer and
    initially larger in higher ones. c_t is complex, its parts SiLUs of affine maps of x_t. The angles theta are
    learned and do not depend on the input. A bidirectional layer adds a second set of parameters that reads from the
    end. Cost: O(b l h) operations and O(log l) depth, in addition to the projections.

    Source: Qin et al. 2023, "Hierarchically Gated Recurrent Neural Network for Sequence Modeling" (arXiv 2311.04823).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        complex_states: bool = True,
        bidirectional: bool = False,
        depth: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            complex_states: False: real states and inputs, without rotations.
            bidirectional: read from both ends.
            depth: the part of the layers that lie below, in [0, 1): where the lower bound starts.
            rngs: random keys.
        """
        super().__init__(lambda: HGRNCell(d_model, complex_states, depth, rngs), bidirectional=bidirectional)

    @property
    def divides_time(self) -> bool:
        """True in one direction: reversing sequences of different lengths moves positions between devices."""
        return self.causal


class HGRNCell(nnx.Module):
    """The layer in one direction, with its parameters."""

    def __init__(self, width: int, complex_states: bool, depth: float, rngs: nnx.Rngs):
        """Creates projections, lower bound and angles (h), which start as those of rotary positions."""
        parts = 2 if complex_states else 1
        self.inputs = Linear(width, parts * width, rngs=rngs)
        self.forget = Linear(width, width, rngs=rngs)
        self.gate = Linear(width, parts * width, rngs=rngs)
        self.lower_bound = LowerBound(width, depth)
        self.theta = Spectrum(_SLOWEST ** (jnp.arange(width) / width)) if complex_states else None
        self.norm = LayerNorm(parts * width)
        self.out = Linear(parts * width, width, rngs=rngs)

    def initial_state(self, batch: int) -> Inexact[Array, "{batch} h"]:
        """Zeros (b, h), complex or real."""
        zeros = jnp.zeros((batch, self.forget.kernel.shape[1]), self.out.kernel[...].dtype)
        return zeros if self.theta is None else jax.lax.complex(zeros, zeros)

    def extend(
        self, x: Float[Array, "b k h"], state: Inexact[Array, "b h"]
    ) -> tuple[Float[Array, "b k h"], Inexact[Array, "b h"]]:
        """A chunk (b, k, h) and the state before it."""
        c, (forget, log_forget) = widened(jax.nn.silu(self.inputs(x))), self.lower_bound(self.forget(x))
        if self.theta is None:
            y = h = ops.linear_recurrence(forget, (1 - forget) * c, h0=state)
        else:
            angle = jnp.broadcast_to(self.theta[...], log_forget.shape).astype(log_forget.dtype)
            decay = jnp.exp(jax.lax.complex(log_forget, angle))
            c = jax.lax.complex(*jnp.split(c, 2, -1))
            h = ops.linear_recurrence(decay, (1 - forget) * c, h0=state)
            y = jnp.concatenate([h.real, h.imag], -1)
        return self.out(self.norm(y * jax.nn.sigmoid(self.gate(x))).astype(x.dtype)), h[:, -1]

    @property
    def state_size(self) -> int:
        """h real numbers, or two for each complex one."""
        return self.forget.kernel.shape[1] * (1 if self.theta is None else 2)
