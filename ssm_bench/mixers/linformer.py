"""Linformer: softmax attention to a fixed number of learned mixtures of positions."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, UserError
from ssm_bench.network.whole_attention import WholeAttention


class Linformer(WholeAttention):
    """Multi-head attention y = softmax(Q (E^T K)^T / sqrt(d)) (E^T V) per head (Wang et al. 2020).

    E (l, r) is learned: r mixtures of positions take the place of the keys and of the values, the same for all heads of
    a layer. Cost per sequence: O(l r h) operations and l r numbers a head. E has a row for every position of the
    longest sequence; shorter ones take its beginning.

    Source: "Linformer: Self-Attention with Linear Complexity" (arXiv 2006.04768), section 4, with one projection for
    keys and values and all heads ("key-value sharing").
    """

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        rank: int = 16,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the projections and E, normal with variance 1 / `max_length`.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            rank: number of mixtures r, at least 1.
            max_length: the longest sequence.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or a rank below 1.
        """
        super().__init__(d_model, heads=heads, width=width, rngs=rngs)
        if rank < 1:
            raise ArgumentError("rank", f"must be at least 1; got {rank}")
        self.mixtures = nnx.Param(jax.random.normal(rngs.params(), (max_length, rank)) / max_length**0.5)

    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """To the mixtures; keys and values in the padding are zero and add nothing to them.

        Raises:
            UserError: more positions than E has rows.
        """
        length, rows = x.shape[1], self.mixtures.shape[0]
        if length > rows:
            raise UserError(f"Linformer takes inputs of up to max_length {rows} positions; got {length}")
        mixtures = self.mixtures[:length].astype(x.dtype)
        k, v = (jnp.einsum("lr,blnd->brnd", mixtures, t) for t in (k, v))
        return ops.attention(q, k, v)
