"""BigBird: softmax attention to a few blocks of positions, some of them drawn at random."""

from flax import nnx
from jaxtyping import Array, Float, Int

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.whole_attention import WholeAttention


class BigBird(WholeAttention):
    """Multi-head attention, y_i = softmax over j in S(i) of (q_i . k_j / sqrt(d)) v_j (Zaheer et al. 2020).

    Time is cut into blocks of w positions. S(i) holds the first block and the last, that of i and its two neighbors,
    and r others, drawn once for each head and block; positions of the first and of the last block see all. The last
    block is the last with a true position. Cost per sequence: O(l w (5 + r) h) operations.
    """

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        block: int = 64,
        random_blocks: int = 3,
        seed: int = 0,
        rngs: nnx.Rngs,
    ):
        """Creates the projections.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            block: positions in a block w, at least 1.
            random_blocks: blocks r drawn for each block of queries, at least 0.
            seed: of the draws, at least 0: the same in every layer and run.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or an option out of range.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        for option, value, least in (("block", block, 1), ("random_blocks", random_blocks, 0), ("seed", seed, 0)):
            if value < least:
                raise ArgumentError(option, f"must be at least {least}; got {value}")
        self.block = block
        self.random_blocks = random_blocks
        self.seed = seed

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """To the first and the last block, to neighbors, and to random blocks; blocks are those of the true length."""
        return ops.block_sparse_attention(
            q, k, v, block=self.block, random_blocks=self.random_blocks, seed=self.seed, lengths=lengths
        )
