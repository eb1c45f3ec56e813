"""Axial attention: softmax attention along the rows and then along the columns of a grid."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import Linear
from ssm_bench.network.whole_attention import WholeAttention


class AxialAttention(WholeAttention):
    """Two multi-head attentions one after the other on positions as a grid with rows of w: along rows, along columns.

    Along rows, position i sees the positions j with floor(j / w) = floor(i / w); along columns those with i - j a
    multiple of w. Each has projections of its own. Together every position sees all. Cost per sequence:
    O(l (w + l/w) h) operations, O(l sqrt(l) h) for a w near sqrt(l).

    Source: Ho et al. 2019, "Axial Attention in Multidimensional Transformers" (arXiv 1912.12180), section 3.
    """

    def __init__(self, d_model: int, *, heads: int = 4, width: int = 0, block: int = 32, rngs: nnx.Rngs):
        """Creates the projections along rows and along columns.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            block: positions in a row w, at least 1: those of an image, where there is one.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or rows without positions.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        if block < 1:
            raise ArgumentError("block", f"must be at least 1; got {block}")
        width = width or d_model
        self.column_query = Linear(d_model, width, bias=False, rngs=rngs)
        self.column_keys = Linear(d_model, width, bias=False, rngs=rngs)
        self.column_values = Linear(d_model, width, bias=False, rngs=rngs)
        self.column_out = Linear(width, d_model, bias=False, rngs=rngs)
        self.block = block

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded keys get no weight."""
        x = super().__call__(x, mask)
        q, k, v = (self.split(m(x)) for m in (self.column_query, self.column_keys, self.column_values))
        lengths = None if mask is None else mask.sum(-1).astype(jnp.int32)
        y = ops.column_attention(q, k, v, stride=self.block, lengths=lengths)
        return self.column_out(y.reshape(*x.shape[:2], -1))

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """Along rows."""
        return ops.block_attention(q, k, v, block=self.block, lengths=lengths)
