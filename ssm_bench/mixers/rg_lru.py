"""RG-LRU: a real diagonal recurrence whose decay and input are gated by the input."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Exempt, Spectrum

INITS = ("griffin", "log_uniform", "recurrentgemma")

# How strongly the gate acts on the decay.
C = 8.0


class RGLRU(RecurrentMixer):
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) i_t x_t with log a_t = -8 softplus(alpha) r_t; the output is h_t.

    r and i are sigmoids of affine maps of x_t, block-diagonal with `blocks` blocks. The first input is not scaled by
    the square root. A bidirectional layer adds a second RG-LRU that runs from the end. Cost: O(b l h^2 / blocks)
    operations for the gates, O(b l h) for the recurrence, O(log l) depth.

    Source: De et al. 2024, "Griffin" (arXiv 2402.19427), section 2.4; the first step as in
    google-deepmind/recurrentgemma.
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="SISO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        blocks: int = 1,
        init: str = "griffin",
        r_min: float = 0.9,
        r_max: float = 0.999,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates alpha (h) and the gates.

        Args:
            d_model: width h.
            blocks: diagonal blocks of each gate; must divide h. 1: dense gates.
            init: where alpha starts, in terms of s, the a_t of an open gate (r_t = 1). "griffin", as the paper says:
                s uniform in [r_min, r_max]. "recurrentgemma", as its code does: s = u^8 with u^2 uniform in
                [r_min^2, r_max^2]. "log_uniform": log(-log s) uniform for s in [r_min, r_max], so that memories of
                all lengths between are equally frequent.
            r_min: smallest radius, above 0.
            r_max: largest radius, below 1.
            bidirectional: also run from the end.
            rngs: random keys.

        Raises:
            UserError: blocks that do not divide the width, an unknown init, or radii out of order.
        """
        if blocks < 1 or d_model % blocks:
            raise ArgumentError("blocks", f"must divide the width {d_model}; got {blocks}")
        if init not in INITS:
            raise unknown_choice("init", init, INITS)
        if not 0 < r_min < r_max < 1:
            raise ArgumentError(
                "r_min", f"and r_max must be in order between 0 and 1; got r_min {r_min} and r_max {r_max}"
            )

        def cell() -> RGLRUCell:
            return RGLRUCell(_initial_rate(rngs.params(), d_model, init, r_min, r_max), blocks, rngs=rngs)

        super().__init__(cell, bidirectional=bidirectional)

    @property
    def divides_time(self) -> bool:
        """True in one direction: reversing sequences of different lengths moves positions between devices."""
        return self.causal

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Float[Array, "b l h"]:
        """a_t at each position, (b, l, h)."""
        return self.forward.decays(x)


class RGLRUCell(nnx.Module):
    """One direction of an RG-LRU."""

    def __init__(self, rate: Array, blocks: int, *, rngs: nnx.Rngs):
        """Creates alpha (h), whose softplus is `rate` at first, and two gates."""
        self.a_param = Spectrum(jnp.log(jnp.expm1(rate)))
        self.input_gate = BlockDiagonal(len(rate), blocks, rngs=rngs)
        self.a_gate = BlockDiagonal(len(rate), blocks, rngs=rngs)

    def initial_state(self, batch: int) -> dict[str, Array]:
        """h (b, h), and whether nothing was read yet (b,): a state of zeros is not the same."""
        width = self.a_param.shape[0]
        return {"h": jnp.zeros((batch, width), self.a_param[...].dtype), "fresh": jnp.ones(batch, bool)}

    def extend(
        self, x: Float[Array, "b k h"], state: dict[str, Array]
    ) -> tuple[Float[Array, "b k h"], dict[str, Array]]:
        """A chunk (b, k, h) by a parallel scan."""
        gates = self.input_gate(x), self.a_gate(x)
        y, h = ops.rg_lru(
            x, *gates, self.a_param[...], c=C, h0=state["h"], fresh=state["fresh"], return_last_state=True
        )
        return y, {"h": h, "fresh": jnp.zeros_like(state["fresh"])}

    def decays(self, x: Float[Array, "b l h"]) -> Float[Array, "b l h"]:
        """a_t for inputs (b, l, h): (b, l, h)."""
        return jnp.exp(-C * jax.nn.softplus(self.a_param[...]) * jax.nn.sigmoid(self.a_gate(x)))

    @property
    def state_size(self) -> int:
        """h real numbers."""
        return self.a_param.shape[0]


class BlockDiagonal(nnx.Module):
    """An affine map of the last axis in `blocks` equal blocks: LeCun-normal weights in each, zero bias.

    The weights of a gate decay like any others; a bias, where an open or closed gate rests, does not.
    """

    def __init__(self, width: int, blocks: int, *, rngs: nnx.Rngs):
        """Creates weights (blocks, width/blocks, width/blocks) and a bias (width,)."""
        size = width // blocks
        init = jax.nn.initializers.lecun_normal(batch_axis=0)
        self.kernel = nnx.Param(init(rngs.params(), (blocks, size, size)))
        self.bias = Exempt(jnp.zeros(width))

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        """(..., width) -> (..., width)."""
        kernel = self.kernel[...]
        y = jnp.einsum("...ni,nij->...nj", x.reshape(*x.shape[:-1], *kernel.shape[:2]), kernel.astype(x.dtype))
        return (y.reshape(x.shape) + self.bias[...]).astype(x.dtype)


def _initial_rate(key: PRNGKeyArray, width: int, init: str, r_min: float, r_max: float) -> Array:
    """softplus(alpha) (h,), the decay rate of an open gate over c."""
    if init == "recurrentgemma":
        return -0.5 * jnp.log(jax.random.uniform(key, (width,), minval=r_min**2, maxval=r_max**2))
    if init == "log_uniform":
        slow, fast = math.log(-math.log(r_max)), math.log(-math.log(r_min))
        return jnp.exp(jax.random.uniform(key, (width,), minval=slow, maxval=fast)) / C
    return -jnp.log(jax.random.uniform(key, (width,), minval=r_min, maxval=r_max)) / C
