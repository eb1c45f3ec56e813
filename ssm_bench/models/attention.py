"""Softmax attention, the mixer of the Transformer."""

import jax
import jax.numpy as jnp
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Mixer, Traits


class Attention(Mixer):
    """Multi-head scaled dot-product attention, y = softmax(Q K^T / sqrt(d)) V per head (Vaswani et al. 2017).

    Cost per sequence: O(l^2 h) operations. Step mode (causal only) keeps every past key and value, up to
    `max_steps`. There is no dropout on the attention weights: fused attention never forms them.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        bidirectional: bool = True,
        max_steps: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the projections.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the projections.
            width: width of queries, keys and values together; 0: h.
            bidirectional: False: a position sees itself and earlier ones only.
            max_steps: longest sequence of step mode.
            rngs: random keys.

        Raises:
            UserError: heads do not divide the width.
        """
        width = width or d_model
        if heads < 1 or width % heads:
            raise UserError(f"--config.mixer.heads must divide the width {width}; got {heads}")
        self.query = Linear(d_model, width, bias=False, rngs=rngs)
        self.keys = Linear(d_model, width, bias=False, rngs=rngs)
        self.values = Linear(d_model, width, bias=False, rngs=rngs)
        self.out = Linear(width, d_model, bias=False, rngs=rngs)
        self.heads = heads
        self.width = width
        self.causal = not bidirectional
        self.max_steps = max_steps

    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, key: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h); padded keys get no weight."""
        q, k, v = self._split(self.query(x)), self._split(self.keys(x)), self._split(self.values(x))
        lengths = None if mask is None else mask.sum(-1).astype(jnp.int32)
        if jax.default_backend() == "gpu":
            y = _fused(q, k, v, lengths, self.causal)
        else:
            y = jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=lengths, is_causal=self.causal)
        return self._join(y.astype(x.dtype))

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def _join(self, y: jax.Array) -> jax.Array:
        return self.out(y.reshape(*y.shape[:-2], self.width))

    def initial_state(self, batch: int) -> dict[str, jax.Array]:
        """An empty cache: keys and values (b, max_steps, heads, d), and the number of positions seen."""
        if not self.causal:
            return super().initial_state(batch)
        cache = jnp.zeros((batch, self.max_steps, self.heads, self.width // self.heads))
        return {"keys": cache, "values": cache, "seen": jnp.zeros(batch, jnp.int32)}

    def step(self, x_t: jax.Array, state: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Attends from one new position (b, h) to all positions seen so far."""
        if not self.causal:
            return super().step(x_t, state)
        rows = jnp.arange(x_t.shape[0])
        seen = state["seen"]
        keys = state["keys"].at[rows, seen].set(self._split(self.keys(x_t)))
        values = state["values"].at[rows, seen].set(self._split(self.values(x_t)))
        q = self._split(self.query(x_t))[:, None]
        y = jax.nn.dot_product_attention(q, keys, values, key_value_seq_lengths=seen + 1)
        return self._join(y[:, 0]), {"keys": keys, "values": values, "seen": seen + 1}

    @property
    def state_size(self) -> None:
        """None: the cache grows with the length."""
        return None


def _fused(q: jax.Array, k: jax.Array, v: jax.Array, lengths: jax.Array | None, causal: bool) -> jax.Array:
    """cuDNN's attention, which never writes the (l, l) scores.

    It takes half precision, even lengths, and heads of a multiple of 8 only: what is missing is filled with zeros.
    """
    length, width = q.shape[1], q.shape[3]
    if length % 2:
        lengths = jnp.full(q.shape[0], length, jnp.int32) if lengths is None else lengths
    gaps = ((0, 0), (0, length % 2), (0, 0), (0, -width % 8))
    q, k, v = (jnp.pad(t, gaps).astype(jnp.bfloat16) for t in (q, k, v))
    scale = width**-0.5
    y = jax.nn.dot_product_attention(
        q, k, v, scale=scale, key_value_seq_lengths=lengths, is_causal=causal, implementation="cudnn"
    )
    return y[:, :length, :, :width]
