"""RWKV-7: the generalized delta rule, with decays, writing rates and removed keys of their own per channel."""

import math

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
from ssm_bench.ops.precision import widened

#: What the input is mixed with its predecessor for, and how fast the share of the predecessor falls along the channels.
_MIXED = {"query": 0.2, "decay": 0.9, "keys": 0.7, "values": 0.7, "rate": 0.9, "gate": 0.2}


class RWKV7(RecurrentMixer):
    """For each head: S_t = (diag(w_t) - (a_t * c_t) c_t^T) S_{t-1} + k_t v_t^T and o_t = S_t^T r_t.

    c_t has length 1 and is what is removed, at the rates a_t; k_t is written. w_t = exp(-e^(-1/2) sigmoid(.)), a_t
    and the output gate g_t come from maps of low rank, r, k, v and c from full ones; every map sees its own mixture
    of x_t and x_{t-1}. The output is W_o ((layer norm(o_t) + (r_t . rho k_t) v_t) * g_t), with a norm for each head.
    A bidirectional layer adds a second set of parameters that reads from the end. Cost: O(b l h (c + m)) operations
    in addition to the projections, with heads of m channels and chunks of c = 16.

    Source: Peng et al. 2025, "RWKV-7 Goose with Expressive Dynamic State Evolution" (arXiv 2503.14456), section 4.
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        rank: int = 0,
        bidirectional: bool = False,
        depth: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            heads: heads; must divide h. The authors' have 64 channels.
            rank: rank of the maps to decays and rates, half of that of the gate; 0: 2.5 sqrt(h) in multiples of 32.
            bidirectional: read from both ends.
            depth: the part of the layers that lie below, in [0, 1): initial values depend on it.
            rngs: random keys.

        Raises:
            UserError: impossible sizes.
        """
        if heads < 1 or d_model % heads:
            raise ArgumentError("heads", f"must divide the width {d_model}; got {heads}")
        if rank < 0:
            raise ArgumentError("rank", f"must be at least 1, or 0 for a rank by the width; got {rank}")
        rank = rank or max(32, 32 * round(2.5 * math.sqrt(d_model) / 32))
        super().__init__(lambda: RWKV7Cell(d_model, heads, rank, depth, rngs), bidirectional=bidirectional)


class RWKV7Cell(nnx.Module):
    """The layer in one direction, with its parameters."""

    def __init__(self, width: int, heads: int, rank: int, depth: float, rngs: nnx.Rngs):
        """Creates projections and, for each channel, constants that start as published."""
        channel, size = jnp.arange(width) / width, width // heads
        from_middle = jnp.arange(width) / max(width - 1, 1) - 0.5
        in_head = 2 * (jnp.arange(width) % size) / max(size - 1, 1) - 1
        zigzag = in_head * jnp.abs(in_head)
        self.mix = Exempt(jnp.stack([1 - channel ** (power * (1 - depth)) for power in _MIXED.values()]))
        self.query = Linear(width, width, bias=False, rngs=rngs)
        self.keys = Linear(width, width, bias=False, variance=0.01, rngs=rngs)
        self.values = Linear(width, width, bias=False, rngs=rngs)
        self.decay = LowRank(width, rank, rngs=rngs)
        self.decay.bias[...] = -5.5 + 6 * (from_middle + 0.5) ** (1 + depth**0.3) + 2.5 * zigzag
        self.rate = LowRank(width, rank, rngs=rngs)
        self.rate.bias[...] = -0.19 + 0.3 * zigzag + 0.4 * from_middle
        self.gate_in = Linear(width, 2 * rank, bias=False, rngs=rngs)
        self.gate_out = Linear(2 * rank, width, bias=False, rngs=rngs)
        self.removed = Exempt(0.71 - 0.1 * from_middle)
        self.replaced = Exempt(jnp.full(width, 1.02))
        self.bonus = Exempt(jnp.full(width, -0.04))
        self.norm_scale, self.norm_bias = Exempt(jnp.ones(width)), Exempt(jnp.zeros(width))
        self.out = Linear(width, width, bias=False, rngs=rngs)
        self.shape = (heads, size)

    def initial_state(self, batch: int) -> dict[str, Array]:
        """The input before the first (b, h), zero, and memories of zeros (b, heads, m, m)."""
        heads, size = self.shape
        dtype = self.out.kernel[...].dtype
        return {"last": jnp.zeros((batch, heads * size), dtype), "memory": jnp.zeros((batch, heads, size, size), dtype)}

    def extend(
        self, x: Float[Array, "b k h"], state: dict[str, Array]
    ) -> tuple[Float[Array, "b k h"], dict[str, Array]]:
        """A chunk (b, k, h) and the state before it."""

        def by_head(t: Array) -> Array:
            return t.reshape(*t.shape[:-1], *self.shape)

        change = jnp.concatenate([state["last"][:, None].astype(x.dtype), x[:, :-1]], 1) - x
        mix = self.mix[...].astype(x.dtype)
        seen = {name: x + change * mix[i] for i, name in enumerate(_MIXED)}
        r, k, v = (
            by_head(widened(linear(seen[name])))
            for name, linear in (("query", self.query), ("keys", self.keys), ("values", self.values))
        )
        log_decay = by_head(-math.exp(-0.5) * jax.nn.sigmoid(widened(self.decay(seen["decay"], jnp.tanh))))
        rate = by_head(jax.nn.sigmoid(widened(self.rate(seen["rate"]))))
        gate = self.gate_out(jax.nn.sigmoid(self.gate_in(seen["gate"])))
        removed = ops.unit_length(k * by_head(self.removed[...]))
        k = k * (1 + (rate - 1) * by_head(self.replaced[...]))
        y, memory = ops.delta_rule(r, k, v, -removed, removed * rate, log_decay, state=state["memory"])
        y = self._normalized(y) + (r * k * by_head(self.bonus[...])).sum(-1, keepdims=True) * v
        y = self.out((y.reshape(x.shape) * gate).astype(x.dtype))
        return y, {"last": x[:, -1].astype(state["last"].dtype), "memory": memory}

    def _normalized(self, y: Array) -> Array:
        """Layer norm of each head (b, l, heads, m), with a scale and an offset for each channel."""
        centered = y - y.mean(-1, keepdims=True)
        y = centered * jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5 * self.shape[1])
        return y * self.norm_scale[...].reshape(self.shape) + self.norm_bias[...].reshape(self.shape)

    @property
    def state_size(self) -> int:
        """h m + h real numbers."""
        heads, size = self.shape
        return heads * size * (size + 1)


class LowRank(nnx.Module):
    """An affine map of the last axis whose matrix has low rank, with a small second factor."""

    def __init__(self, width: int, rank: int, *, rngs: nnx.Rngs):
        """Creates both factors, (width, rank) and (rank, width), and a bias (width,)."""
        self.reduce = Linear(width, rank, bias=False, rngs=rngs)
        self.expand = Linear(rank, width, bias=False, variance=0.01, rngs=rngs)
        self.bias = Exempt(jnp.zeros(width))

    def __call__(self, x: Float[Array, "*batch width"], activation=lambda z: z) -> Float[Array, "*batch width"]:
        """(..., width) -> (..., width), with an activation between the factors."""
        return widened(self.expand(activation(self.reduce(x)))) + self.bias[...]
