"""Normalized attention over a complex moving average: the mixer of Megalodon."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import Linear, RMSNorm, dropout, split_key
from ssm_bench.network.mixer import Mixer, Traits
from ssm_bench.network.moving_average import ComplexEMA
from ssm_bench.network.parameters import Exempt
from ssm_bench.network.recent import Recent
from ssm_bench.ops.precision import widened

EPSILON = 1e-5


class Megalodon(Mixer):
    """With m = RMSNorm(CEMA(x)) and v = silu(W_v x), the output is W m + b + W_h (silu(W_r m) * attention(q, k) v).

    For each head of d channels, z = W_z m is divided by its root mean square; queries and keys are two affine forms of
    it, channel by channel, that start at z / sqrt(d), turned by rotary positions. Softmax attention has no further
    scale. Chunks, costs and step mode are those of Mega, whose update gate is gone.

    Source: Ma et al. 2024, "Megalodon" (arXiv 2404.08801), sections 3.1 and 3.3.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 16,
        width: int = 0,
        key_width: int = 64,
        heads: int = 1,
        chunk: int = 0,
        truncation: int = 0,
        dropout: float = 0.0,
        bidirectional: bool = True,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the moving average, its norm and the projections.

        Args:
            d_model: width h.
            state_size: complex states n of the moving average, for each channel and direction.
            width: width w of the values of all heads; 0: 2 h.
            key_width: width z of queries and keys of all heads.
            heads: number of heads; must divide w, and z into even numbers of channels.
            chunk: positions that attend to each other; 0: all.
            truncation: taps of the moving average if bidirectional; 0: all. A causal one has all.
            dropout: rate on the moving average and on the gated attention.
            bidirectional: False: a position sees itself and earlier ones only.
            max_length: positions that step mode without chunks remembers.
            rngs: random keys.

        Raises:
            UserError: impossible sizes.
        """
        width = width or 2 * d_model
        if heads < 1 or width < 1 or width % heads:
            raise ArgumentError("heads", f"must divide the width {width} of the values; got {heads}")
        if key_width < 2 or key_width % (2 * heads):
            raise ArgumentError("key_width", f"must be a multiple of 2 heads, {2 * heads}; got {key_width}")
        if chunk < 0:
            raise ArgumentError("chunk", f"must be at least 0; got {chunk}")
        if not 0 <= dropout < 1:
            raise ArgumentError("dropout", f"must lie in [0, 1); got {dropout}")

        def projection(inputs: int, outputs: int, *, bias: bool = True) -> Linear:
            return Linear(inputs, outputs, bias=bias, variance=1 / 3, rngs=rngs)

        self.average = ComplexEMA(
            d_model, state_size=state_size, bidirectional=bidirectional, truncation=truncation, rngs=rngs
        )
        self.norm = RMSNorm(d_model, epsilon=EPSILON)
        self.shared = projection(d_model, key_width)
        self.values = projection(d_model, width)
        self.reset = projection(d_model, width)
        self.direct = projection(d_model, d_model)
        self.out = projection(width, d_model, bias=False)
        # Of queries and of keys; the scale without its 1 / sqrt(d).
        self.scale = Exempt(jnp.ones((2, key_width)))
        self.offset = Exempt(jnp.zeros((2, key_width)))
        self.recent = Recent(chunk or max_length, chunk)
        self.heads = heads
        self.chunk = chunk
        self.dropout = dropout
        self.causal = not bidirectional

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded keys get no weight."""
        average_key, out_key = split_key(key, 2)
        m = dropout(self.norm(self.average(x)), self.dropout, average_key)
        q, k = (self._turned(t, jnp.arange(x.shape[1])) for t in self._queries_keys(m))
        lengths = None if mask is None else jnp.repeat(mask.sum(-1).astype(jnp.int32), self.heads)
        v = self._split(jax.nn.silu(self.values(x)))
        y = ops.relative_attention(q, k, v, causal=self.causal, chunk=self.chunk, lengths=lengths)
        return self._gated(y, m, out_key)

    def _queries_keys(self, m: Array) -> list[Array]:
        """Queries and keys (b, l, z), not yet turned."""
        z = widened(self.shared(m))
        heads = z.reshape(*z.shape[:-1], self.heads, -1)
        heads = heads * jax.lax.rsqrt(jnp.square(heads).mean(-1, keepdims=True) + EPSILON)
        z, root = heads.reshape(z.shape), heads.shape[-1] ** 0.5
        q, k = (z * self.scale[...][i] / root + self.offset[...][i] for i in (0, 1))
        # Attention divides scores by the root.
        return [(root * q).astype(m.dtype), k.astype(m.dtype)]

    def _split(self, x: Array) -> Array:
        """(b, l, w) -> (b heads, l, w / heads)."""
        batch, length, _ = x.shape
        return jnp.swapaxes(x.reshape(batch, length, self.heads, -1), 1, 2).reshape(batch * self.heads, length, -1)

    def _turned(self, x: Array, positions: Array) -> Array:
        """Queries or keys (b, l, z) with rotary positions: (b heads, l, z / heads)."""
        heads = self._split(x)
        return ops.rotary(heads[:, :, None], positions, turned=heads.shape[-1])[:, :, 0]

    def _gated(self, y: Array, m: Array, key: PRNGKeyArray | None) -> Array:
        batch, length, _ = m.shape
        y = jnp.swapaxes(y.reshape(batch, self.heads, length, -1), 1, 2).reshape(batch, length, -1)
        return self.direct(m) + self.out(dropout(y * jax.nn.silu(self.reset(m)), self.dropout, key))

    def initial_state(self, batch: int) -> dict[str, Any]:
        """The moving average, and the latest keys and values."""
        if not self.causal:
            return super().initial_state(batch)
        widths = {"keys": self.scale.shape[1], "values": self.out.kernel.shape[0]}
        past = self.recent.initial_state(batch, widths, self.values.kernel[...].dtype)
        return {"average": self.average.initial_state(batch), "past": past}

    def extend(self, x: Float[Array, "b k h"], state: Any) -> tuple[Float[Array, "b k h"], Any]:
        """A chunk (b, k, h) at once."""
        if not self.causal:
            return super().extend(x, state)
        average, new_average = self.average.extend(x, state["average"])
        m = self.norm(average)
        q, k = self._queries_keys(m)
        past, _, seen, kept = self.recent.extend(state["past"], keys=k, values=jax.nn.silu(self.values(x)))
        # Products depend on distances only: positions count from the oldest key here.
        places = jnp.arange(past["keys"].shape[1])
        y = ops.attend(
            self._turned(q, places[-x.shape[1] :]),
            self._turned(past["keys"], places),
            self._split(past["values"]),
            0.0,
            jnp.repeat(seen, self.heads, axis=0),
        )
        return self._gated(y, m, None), {"average": new_average, "past": kept}

    @property
    def state_size(self) -> int | None:
        """The moving average, keys and values of a chunk; None without one, or if not causal."""
        if not self.causal or not self.chunk:
            return None
        return self.average.state_size + self.chunk * (self.scale.shape[1] + self.out.kernel.shape[0])
