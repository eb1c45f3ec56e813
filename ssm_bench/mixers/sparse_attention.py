"""Sparse attention: the mixer of the Sparse Transformer, with strided or fixed patterns."""

from flax import nnx
from jaxtyping import Array, Float, Int

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.whole_attention import WholeAttention


class SparseAttention(WholeAttention):
    """Multi-head attention y_i = softmax over j in S(i) of (q_i . k_j / sqrt(d)) v_j.

    Strided: S(i) are the positions nearer than w, and those at a distance of a multiple of w. Fixed: S(i) are the
    positions of the same block of w, and the last c positions of all blocks. In both, the first g positions see all and
    are seen by all. Cost per sequence: O(l (w + l/w) h) operations strided, O(l (w + c l/w) h) fixed; for a w near
    sqrt(l) and a constant c these are O(l sqrt(l) h).

    Source: Child et al. 2019, "Generating Long Sequences with Sparse Transformers" (arXiv 1904.10509), section 4, in
    both directions and with both parts in every head.
    """

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        pattern: str = "strided",
        block: int = 50,
        summary: int = 1,
        global_positions: int = 0,
        rngs: nnx.Rngs,
    ):
        """Creates the projections.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            pattern: "strided" or "fixed".
            block: the stride or the positions in a block w, at least 1.
            summary: positions c at the end of a block that all positions see, from 0 to `block`; fixed pattern only.
            global_positions: positions g at the beginning that see all and are seen by all, at least 0.
            rngs: random keys.

        Raises:
            UserError: an unknown pattern, a negative width, heads that do not divide it, or an option out of range.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        if pattern not in ops.SPARSE_PATTERNS:
            raise unknown_choice("pattern", pattern, ops.SPARSE_PATTERNS)
        for option, value, least in (("block", block, 1), ("global_positions", global_positions, 0)):
            if value < least:
                raise ArgumentError(option, f"must be at least {least}; got {value}")
        if not 0 <= summary <= block:
            raise ArgumentError("summary", f"must lie in 0..block, and block is {block}; got {summary}")
        self.pattern = pattern
        self.block = block
        self.summary = summary
        self.global_positions = global_positions

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """By the pattern, and from the global positions to all."""
        y = ops.sparse_attention(
            q,
            k,
            v,
            pattern=self.pattern,
            block=self.block,
            summary=self.summary,
            first=self.global_positions,
            lengths=lengths,
        )
        if self.global_positions:
            y = ops.with_global_rows(y, q[:, : self.global_positions], k, v, lengths=lengths)
        return y
