"""Linear unified nested attention: the mixer of Luna."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, UserError
from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits, WholeMixer


class Luna(WholeMixer):
    """Softmax attention in two steps, through p vectors P that pass all layers in front of the sequence X.

    Pack: Y_P = softmax(Q_P K^T) V, with queries of P, and keys and values of X. Unpack: Y_X = softmax(Q K_P^T) V_P W,
    with queries of X, and keys and values of Y_P; both per head, scores divided by sqrt(d). The first p positions of
    what it maps are P, and those of its output Y_P. An example of n < p positions has its queries see the first n
    vectors only. Cost per sequence: O(p l h) operations and p l numbers a head, in addition to the projections. Every
    output sees every input, so there is no step mode.

    Source: Ma et al. 2021, "Luna: Linear Unified Nested Attention" (arXiv 2106.01540), section 3.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(self, d_model: int, *, context: int, heads: int = 4, rngs: nnx.Rngs):
        """Creates the projections.

        Args:
            d_model: width h.
            context: number p of positions that are P, at least 1.
            heads: number of heads; must divide the width.
            rngs: random keys.

        Raises:
            UserError: no context, or heads that do not divide the width.
        """
        if context < 1:
            raise ArgumentError("context", f"must be at least 1 with the mixer luna; got {context}")
        width_of_heads(0, d_model, heads)

        def projection(*, bias: bool = True) -> Linear:
            # The variance of the authors, for whom it converged better.
            return Linear(d_model, d_model, bias=bias, variance=0.5, rngs=rngs)

        # A bias of keys adds the same number to all scores of a query: no softmax would see it.
        self.pack_query = projection()
        self.pack_keys = projection(bias=False)
        self.pack_values = projection()
        self.query = projection()
        self.keys = projection(bias=False)
        self.values = projection()
        self.out = Linear(d_model, d_model, rngs=rngs)
        self.context = context
        self.heads = heads

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, p + l, h) -> (b, p + l, h); padded keys get no weight.

        Raises:
            UserError: no more positions than the context has.
        """
        batch, length, _ = x.shape
        if length <= self.context:
            raise UserError(f"Luna takes inputs of more positions than its context {self.context}; got {length}")
        context, x = x[:, : self.context], x[:, self.context :]
        lengths = jnp.full(batch, length) if mask is None else mask.sum(-1)
        lengths = lengths.astype(jnp.int32) - self.context
        packed = self._attend(self.pack_query(context), self.pack_keys(x), self.pack_values(x), lengths)
        seen = jnp.minimum(lengths, self.context)
        unpacked = self._attend(self.query(x), self.keys(packed), self.values(packed), seen)
        return jnp.concatenate([packed, self.out(unpacked)], 1)

    def _attend(self, query: Array, keys: Array, values: Array, lengths: Array) -> Array:
        """Softmax attention from (b, m, h) to the first `lengths` (b,) of (b, k, h): (b, m, h)."""
        q, k, v = (t.reshape(*t.shape[:2], self.heads, -1) for t in (query, keys, values))
        return ops.attention(q, k, v, lengths=lengths).reshape(query.shape)
