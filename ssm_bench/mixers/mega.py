"""Gated attention over a moving average: the mixer of Mega."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, UserError, unknown_choice
from ssm_bench.network.layers import Linear, dropout, split_key
from ssm_bench.network.mixer import Mixer, Traits
from ssm_bench.network.moving_average import DampedEMA
from ssm_bench.network.parameters import Exempt
from ssm_bench.network.recent import Recent
from ssm_bench.ops.relative import ATTENTIONS

BIASES = ("simple", "rotary")

#: Standard deviation of all initial weights but those of the moving average.
INITIAL_STD = 0.02


class Mega(Mixer):
    """With m = silu(EMA(x)) and v = silu(W_v x), attention y = f(q, k) v of one head and the update u (h - x).

    Queries and keys are two affine forms, channel by channel, of z = silu(W_z m). The reset gate r = silu(W_r m) meets
    the attention in h = silu(W m + W_h (r * y)), and the update gate u = sigmoid(W_u m) chooses between h and the
    residual stream: x itself, unless a block hands over another one. Scores have a learned bias for each distance. With
    a chunk c, attention stays within chunks, and the moving average carries what came before. Cost per sequence:
    O(l^2 (z + w) + l h (n + w)) operations, O(l c (z + w) + l h (n + w)) with a chunk; step mode keeps the average and
    past keys and values, those of a chunk, or of the last `max_length` positions.

    Source: Ma et al. 2022, "Mega: moving average equipped gated attention" (arXiv 2209.10655), section 3.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )
    takes_residual = True

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 16,
        width: int = 0,
        key_width: int = 64,
        attention: str = "softmax",
        bias: str = "simple",
        chunk: int = 0,
        truncation: int = 0,
        dropout: float = 0.0,
        bidirectional: bool = True,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the moving average, the projections and the biases of distances.

        Args:
            d_model: width h.
            state_size: states n of the moving average, for each channel and direction.
            width: width w of the values; 0: 2 h.
            key_width: width z of queries and keys, even with rotary biases.
            attention: what makes weights of scores, "softmax", "laplace" or "relu2".
            bias: biases of distances, "simple", a table, or "rotary", from two vectors turned by their positions.
            chunk: positions that attend to each other; 0: all.
            truncation: taps of the moving average if bidirectional; 0: all. A causal one has all.
            dropout: rate on the moving average and on h.
            bidirectional: False: a position sees itself and earlier ones only.
            max_length: longest sequence, for the biases; step mode forgets keys that are older.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, or impossible sizes.
        """
        if attention not in ATTENTIONS:
            raise unknown_choice("attention", attention, ATTENTIONS)
        if bias not in BIASES:
            raise unknown_choice("bias", bias, BIASES)
        if width < 0:
            raise ArgumentError("width", f"must be at least 1, or 0 for 2 d_model; got {width}")
        if key_width < 1 or (bias == "rotary" and key_width % 2):
            raise ArgumentError("key_width", f"must be at least 1, and even with rotary biases; got {key_width}")
        if chunk < 0:
            raise ArgumentError("chunk", f"must be at least 0; got {chunk}")
        if not 0 <= dropout < 1:
            raise ArgumentError("dropout", f"must lie in [0, 1); got {dropout}")
        width = width or 2 * d_model

        def projection(inputs: int, outputs: int) -> Linear:
            return Linear(inputs, outputs, variance=INITIAL_STD**2 * inputs, rngs=rngs)

        def normal(*shape: int) -> Array:
            return INITIAL_STD * jax.random.normal(rngs.params(), shape)

        self.average = DampedEMA(
            d_model, state_size=state_size, bidirectional=bidirectional, truncation=truncation, rngs=rngs
        )
        self.values = projection(d_model, width)
        # Update gate, z, reset gate and what h adds to the attention, side by side.
        self.inner = projection(d_model, d_model + key_width + width + d_model)
        self.out = projection(width, d_model)
        # Of queries and of keys.
        self.scale = Exempt(normal(2, key_width))
        self.offset = Exempt(jnp.zeros((2, key_width)))
        self.reach = chunk or max_length
        self.recent = Recent(self.reach, chunk)
        self.distances = Exempt(normal(2 * self.reach - 1)) if bias == "simple" else None
        self.turned = Exempt(normal(2, key_width)) if bias == "rotary" else None
        self.splits = tuple(np.cumsum([d_model, key_width, width]).tolist())
        self.attention = attention
        self.chunk = chunk
        self.dropout = dropout
        self.causal = not bidirectional

    def __call__(
        self,
        x: Float[Array, "b l h"],
        mask: Bool[Array, "b l"] | None = None,
        *,
        key: PRNGKeyArray | None = None,
        residual: Float[Array, "b l h"] | None = None,
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded keys get no weight. `residual`: the stream that the output is added to."""
        if not self.chunk and x.shape[1] > self.reach:
            raise UserError(f"Mega was made for sequences of at most {self.reach} positions; got {x.shape[1]}")
        lengths = None if mask is None else mask.sum(-1).astype(jnp.int32)
        average_key, out_key = split_key(key, 2)
        m = dropout(jax.nn.silu(self.average(x)), self.dropout, average_key)
        q, k, gates = self._queries_keys_gates(m)
        y = ops.relative_attention(
            q,
            k,
            jax.nn.silu(self.values(x)),
            self._biases(),
            activation=self.attention,
            causal=self.causal,
            chunk=self.chunk,
            lengths=lengths,
        )
        return self._update(y, gates, x if residual is None else residual, out_key)

    def _queries_keys_gates(self, m: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        update, z, reset, direct = jnp.split(self.inner(m), self.splits, axis=-1)
        z = jax.nn.silu(z)[..., None, :] * self.scale[...] + self.offset[...]
        q, k = (z[..., i, :].astype(m.dtype) for i in (0, 1))
        return q, k, (jax.nn.sigmoid(update), jax.nn.silu(reset), direct)

    def _biases(self) -> Array:
        if self.turned is not None:
            query, key = self.turned[...]
            return ops.rotary_bias(query, key, self.reach)
        assert self.distances is not None
        return self.distances[...]

    def _update(self, y: Array, gates: tuple[Array, ...], residual: Array, key: PRNGKeyArray | None) -> Array:
        update, reset, direct = gates
        h = dropout(jax.nn.silu(direct + self.out(y * reset)), self.dropout, key)
        return update * (h - residual)

    def initial_state(self, batch: int) -> dict[str, Any]:
        """The moving average, and the latest keys and values."""
        if not self.causal:
            return super().initial_state(batch)
        widths = {"keys": self.scale.shape[1], "values": self.out.kernel.shape[0]}
        past = self.recent.initial_state(batch, widths, self.values.kernel[...].dtype)
        return {"average": self.average.initial_state(batch), "past": past}

    def extend(
        self, x: Float[Array, "b k h"], state: Any, *, residual: Float[Array, "b k h"] | None = None
    ) -> tuple[Float[Array, "b k h"], Any]:
        """A chunk (b, k, h) at once."""
        if not self.causal:
            return super().extend(x, state)
        average, new_average = self.average.extend(x, state["average"])
        q, k, gates = self._queries_keys_gates(jax.nn.silu(average))
        past, age, seen, kept = self.recent.extend(state["past"], keys=k, values=jax.nn.silu(self.values(x)))
        bias = self._biases()[jnp.clip(self.reach - 1 - age, 0)]
        y = ops.attend(q, past["keys"], past["values"], bias, seen, activation=self.attention)
        state = {"average": new_average, "past": kept}
        return self._update(y, gates, x if residual is None else residual, None), state

    @property
    def state_size(self) -> int | None:
        """The moving average, keys and values of a chunk; None without one, or if not causal."""
        if not self.causal or not self.chunk:
            return None
        return self.average.state_size + self.chunk * (self.scale.shape[1] + self.out.kernel.shape[0])
