"""Softmax attention: the mixer of the Transformer and, over a window, of Griffin."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Mixer, Traits


class Attention(Mixer):
    """Multi-head scaled dot-product attention, y = softmax(Q K^T / sqrt(d)) V per head (Vaswani et al. 2017).

    With a window w, position i sees the positions j with |i - j| < w only. Cost per sequence: O(l^2 h) operations,
    O(l w h) with a window. Step mode (causal only) keeps past keys and values in a ring: those of the window, or of
    the last `max_steps` positions without one. There is no dropout on the attention weights: fused attention never
    forms them.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        kv_heads: int = 0,
        width: int = 0,
        window: int = 0,
        rotary: bool = False,
        whole_heads: bool = False,
        output_bias: bool = False,
        bidirectional: bool = True,
        max_steps: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the projections.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            kv_heads: number of heads of keys and values, a divisor of `heads`; 0: as many; 1: multi-query attention
                (Shazeer 2019).
            width: width of all queries together; 0: h.
            window: positions seen to each side, the present one included; 0: all.
            rotary: rotary positions on half of each head, which then needs a multiple of 4 channels.
            whole_heads: rotary positions on all channels of a head, an even number.
            output_bias: a bias after the last projection, as published with RecurrentGemma.
            bidirectional: False: a position sees itself and earlier ones only.
            max_steps: positions kept in step mode without a window; earlier ones are forgotten.
            rngs: random keys.

        Raises:
            UserError: sizes that do not divide each other.
        """
        width = width_of_heads(width, d_model, heads)
        kv_heads = kv_heads or heads
        if kv_heads < 1 or heads % kv_heads:
            raise ArgumentError("kv_heads", f"must divide heads {heads}; got {kv_heads}")
        if min(window, max_steps - 1) < 0:
            raise ArgumentError(
                "window", f"must be at least 0 and max_steps at least 1; got window {window} and max_steps {max_steps}"
            )
        size = width // heads
        if whole_heads and not rotary:
            raise ArgumentError("whole_heads", "needs rotary=true; got rotary=false")
        if rotary and size % (multiple := 2 if whole_heads else 4):
            raise ArgumentError(
                "rotary",
                f"needs heads of a multiple of {multiple} channels; got {heads} heads of {size} in a width of {width}",
            )
        self.query = Linear(d_model, width, bias=False, rngs=rngs)
        self.keys = Linear(d_model, kv_heads * size, bias=False, rngs=rngs)
        self.values = Linear(d_model, kv_heads * size, bias=False, rngs=rngs)
        self.out = Linear(width, d_model, bias=output_bias, rngs=rngs)
        self.size = size
        self.kv_heads = kv_heads
        self.window = window
        self.rotary = rotary
        self.turned = size if whole_heads else 0
        self.causal = not bidirectional
        self.max_steps = max_steps

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded keys get no weight."""
        q, k, v = self._split(self.query(x)), self._split(self.keys(x)), self._split(self.values(x))
        if self.rotary:
            q, k = (ops.rotary(t, jnp.arange(x.shape[1]), turned=self.turned) for t in (q, k))
        lengths = None if mask is None else mask.sum(-1).astype(jnp.int32)
        y = ops.attention(q, k, v, causal=self.causal, window=self.window, lengths=lengths)
        return self._join(y, x.dtype)

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], -1, self.size)

    def _join(self, y: Array, dtype: jnp.dtype) -> Array:
        return self.out(y.astype(dtype).reshape(*y.shape[:-2], -1)).astype(dtype)

    def initial_state(self, batch: int) -> dict[str, Array]:
        """An empty ring of keys and values (b, positions, kv_heads, d), and the number of positions seen."""
        if not self.causal:
            return super().initial_state(batch)
        shape = (batch, self.window or self.max_steps, self.kv_heads, self.size)
        ring = jnp.zeros(shape, self.keys.kernel[...].dtype)
        return {"keys": ring, "values": ring, "seen": jnp.zeros(batch, jnp.int32)}

    def step(self, x_t: Float[Array, "b h"], state: dict[str, Array]) -> tuple[Float[Array, "b h"], dict[str, Array]]:
        """Attends from one new position (b, h) to those in the ring."""
        if not self.causal:
            return super().step(x_t, state)
        rows, seen, positions = jnp.arange(x_t.shape[0]), state["seen"], state["keys"].shape[1]
        keys = state["keys"].at[rows, seen % positions].set(self._split(self.keys(x_t)))
        values = state["values"].at[rows, seen % positions].set(self._split(self.values(x_t)))
        age = (seen[:, None] - jnp.arange(positions)) % positions
        # Scalar products depend on distances only: with angles by age they stay exact, however long the stream.
        k = ops.rotary(keys, -age, turned=self.turned) if self.rotary else keys
        q = self._split(self.query(x_t))[:, None]
        exists = (age <= seen[:, None])[:, None, None, :]
        y = jax.nn.dot_product_attention(q, k.astype(q.dtype), values.astype(q.dtype), mask=exists)
        return self._join(y[:, 0], x_t.dtype), {"keys": keys, "values": values, "seen": seen + 1}

    @property
    def state_size(self) -> int | None:
        """Keys and values of a window; None without one, as the state grows with the length, or in both directions."""
        return 2 * self.window * self.kv_heads * self.size or None if self.causal else None
