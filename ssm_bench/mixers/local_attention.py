"""Local attention: softmax attention inside blocks."""

from flax import nnx
from jaxtyping import Array, Float, Int

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.whole_attention import WholeAttention


class LocalAttention(WholeAttention):
    """Multi-head attention y_i = softmax over j in S(i) of (q_i . k_j / sqrt(d)) v_j, where S(i) is the block of i.

    The sequence is divided into disjoint blocks of w positions, and no layer exchanges information between them.
    Cost per sequence: O(l w h) operations.

    Source: the baseline "Local Attention" of Tay et al. 2021, "Long Range Arena" (arXiv 2011.04006).
    """

    def __init__(self, d_model: int, *, heads: int = 4, width: int = 0, block: int = 50, rngs: nnx.Rngs):
        """Creates the projections.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            block: positions in a block w, at least 1.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or a block without positions.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        if block < 1:
            raise ArgumentError("block", f"must be at least 1; got {block}")
        self.block = block

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """Inside blocks."""
        return ops.block_attention(q, k, v, block=self.block, lengths=lengths)
