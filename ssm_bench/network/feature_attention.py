"""Attention whose weights are scalar products of features, with the projections and the states of all such mixers."""

import abc

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Mixer


class FeatureAttention(Mixer):
    """For each head y_i = sum_j (phi(q_i) . phi(k_j)) v_j / sum_j phi(q_i) . phi(k_j); a subclass says what phi is.

    Cost per sequence: O(l h m) operations with m features a head. A causal one carries the sums over j as its state.
    """

    #: What is added to the denominator.
    epsilon = 0.0

    def __init__(self, d_model: int, *, heads: int, width: int, bidirectional: bool, rngs: nnx.Rngs):
        """Creates the projections; the arguments are those of the subclasses.

        Raises:
            UserError: a negative width, or heads that do not divide it.
        """
        width = width_of_heads(width, d_model, heads)
        self.query = Linear(d_model, width, bias=False, rngs=rngs)
        self.keys = Linear(d_model, width, bias=False, rngs=rngs)
        self.values = Linear(d_model, width, bias=False, rngs=rngs)
        self.out = Linear(width, d_model, bias=False, rngs=rngs)
        self.heads = heads
        self.size = width // heads
        self.causal = not bidirectional

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """The number m of features a head."""

    @abc.abstractmethod
    def query_features(self, q: Float[Array, "b l n d"]) -> Float[Array, "b l n m"]:
        """phi of queries, (b, l, n, d) -> (b, l, n, m): not negative, each of its own position alone."""

    @abc.abstractmethod
    def key_features(self, k: Float[Array, "b l n d"], mask: Bool[Array, "b l"] | None) -> Float[Array, "b l n m"]:
        """phi of keys, likewise; those of a mixer that is not causal may depend on all positions of the mask (b, l)."""

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded keys get no weight."""
        q, k, v = self._mapped(x, mask)
        if self.causal:
            y, _ = ops.causal_linear_attention(q, k, v, epsilon=self.epsilon)
        else:
            y = ops.linear_attention(q, k, v, mask=mask, epsilon=self.epsilon)
        return self._join(y)

    def _mapped(self, x: Array, mask: Array | None = None) -> tuple[Array, Array, Array]:
        q, k, v = (t.reshape(*t.shape[:-1], self.heads, -1) for t in (self.query(x), self.keys(x), self.values(x)))
        return self.query_features(q), self.key_features(k, mask), v

    def _join(self, y: Array) -> Array:
        return self.out(y.reshape(*y.shape[:-2], -1))

    def initial_state(self, batch: int) -> ops.KeySums:
        """Sums over no positions: zeros (b, n, m, d) and (b, n, m)."""
        if not self.causal:
            return super().initial_state(batch)
        zeros = jnp.zeros((batch, self.heads, self.features, self.size), self.keys.kernel[...].dtype)
        return ops.KeySums(zeros, zeros[..., 0])

    def extend(self, x: Float[Array, "b k h"], state: ops.KeySums) -> tuple[Float[Array, "b k h"], ops.KeySums]:
        """A chunk (b, k, h) at once."""
        if not self.causal:
            return super().extend(x, state)
        y, state = ops.causal_linear_attention(*self._mapped(x), state, epsilon=self.epsilon)
        return self._join(y), state

    @property
    def state_size(self) -> int:
        """Numerators and denominators of all heads, n m (d + 1) real numbers."""
        return self.heads * self.features * (self.size + 1)
