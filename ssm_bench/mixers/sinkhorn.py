"""Sparse Sinkhorn attention: the mixer of the Sinkhorn Transformer."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, UserError
from ssm_bench.network.layers import Linear
from ssm_bench.network.whole_attention import WholeAttention
from ssm_bench.ops.precision import widened
from ssm_bench.ops.sparse_attention import cut


class Sinkhorn(WholeAttention):
    """Multi-head attention inside blocks, plus attention from each block to one that is sorted to its place.

    With K_p and V_p the keys and values of block p, y_i = A(q_i, K_p, V_p) + A(q_i, sum_s P_sp K_s, sum_s P_sp V_s) for
    i in block p, where A is softmax attention. P is doubly stochastic but for rounding: exp(R) with rows and columns
    normalized in turn, where row s of R is a linear map of the sum of the keys of block s. Cost per sequence, with
    blocks of w: O(l (w + l/w) h) operations.

    Source: Tay et al. 2020, "Sparse Sinkhorn Attention" (arXiv 2002.11296), section 3.
    """

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        block: int = 50,
        iterations: int = 8,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the projections and the map that sorts, with an output for every block of the longest sequence.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            block: positions in a block w, at least 1.
            iterations: of the Sinkhorn normalization, at least 1.
            max_length: the longest sequence.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or an option out of range.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        for option, value in (("block", block), ("iterations", iterations)):
            if value < 1:
                raise ArgumentError(option, f"must be at least 1; got {value}")
        self.sort = Linear((width or d_model) // heads, -(-max_length // block), bias=False, rngs=rngs)
        self.block = block
        self.iterations = iterations

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """To the own block and to the sorted one.

        Raises:
            UserError: more blocks than the map that sorts has outputs.
        """
        blocks, places = -(-x.shape[1] // self.block), self.sort.kernel.shape[1]
        if blocks > places:
            raise UserError(
                f"Sinkhorn takes inputs of up to {places} blocks of {self.block}; got {x.shape[1]} positions"
            )
        # Keys in the padding are zero. Sums of many keys decide which block is taken: they are not rounded.
        sums = cut(widened(k), min(self.block, x.shape[1])).sum(2)
        scores = jnp.swapaxes(self.sort(sums)[..., :blocks], 1, 2)
        return ops.sinkhorn_attention(q, k, v, scores, block=self.block, iterations=self.iterations, lengths=lengths)
