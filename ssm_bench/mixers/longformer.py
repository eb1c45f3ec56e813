"""Longformer: softmax attention to a window, and to and from a few global positions."""

from flax import nnx
from jaxtyping import Array, Float, Int

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import Linear
from ssm_bench.network.whole_attention import WholeAttention


class Longformer(WholeAttention):
    """Multi-head attention y_i = softmax over j in S(i) of (q_i . k_j / sqrt(d)) v_j (Beltagy et al. 2020).

    S(i) are the positions with |i - j| < w and the first g positions, for example the class token. These g positions
    see all, with queries, keys and values of projections of their own. Cost per sequence: O(l (w + g) h) operations.

    Source: "Longformer: The Long-Document Transformer" (arXiv 2004.05150), section 3.1.
    """

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        window: int = 256,
        global_positions: int = 1,
        rngs: nnx.Rngs,
    ):
        """Creates the projections; those of global positions only if there are any.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            window: positions w seen to each side, the present one included, at least 1.
            global_positions: positions g at the beginning that see all and are seen by all, at least 0.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or an option out of range.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        for option, value, least in (("window", window, 1), ("global_positions", global_positions, 0)):
            if value < least:
                raise ArgumentError(option, f"must be at least {least}; got {value}")
        if global_positions:
            width = width or d_model
            self.global_query = Linear(d_model, width, bias=False, rngs=rngs)
            self.global_keys = Linear(d_model, width, bias=False, rngs=rngs)
            self.global_values = Linear(d_model, width, bias=False, rngs=rngs)
        self.window = window
        self.global_positions = global_positions

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """To the window and the global positions, and from the global positions to all."""
        first = self.global_positions
        y = ops.window_attention(q, k, v, window=self.window, first=first, lengths=lengths)
        if first:
            rows = self.split(self.global_query(x[:, :first]))
            keys, values = self.split(self.global_keys(x)), self.split(self.global_values(x))
            y = ops.with_global_rows(y, rows, keys, values, lengths=lengths)
        return y
