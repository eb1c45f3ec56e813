"""Synthesizer: attention whose scores do not, or not only, come from products of queries and keys."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, UserError, unknown_choice
from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits, WholeMixer

#: Where the scores R come from.
SCORES = ("random", "factorized", "dense")


class Synthesizer(WholeMixer):
    """Multi-head attention y = softmax(Q K^T / sqrt(d) + R) V per head (Tay et al. 2021).

    Random: R (l, l) is learned and the same for all inputs. Factorized: R = R_1 R_2 for learned R_1 (l, r) and R_2 (r,
    l). Dense: R = relu(X W) T depends on the inputs, each row on those of its own position; T (d, l) is learned and the
    same for all heads. Dense scores stand alone, the others only without `dot_product`. Cost per sequence: O(l^2 h)
    operations. Learned matrices have a row or column for every position of the longest sequence; shorter ones take the
    first.

    Source: "Synthesizer: Rethinking Self-Attention for Transformer Models" (arXiv 2005.00743), sections 3.1 to 3.3.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        scores: str = "random",
        rank: int = 32,
        dot_product: bool = True,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the projections and the learned scores.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the values.
            width: width of all values together; 0: h.
            scores: "random", "factorized" or "dense".
            rank: r of factorized scores, at least 1.
            dot_product: whether products of queries and keys are added to random or factorized scores.
            max_length: the longest sequence.
            rngs: random keys.

        Raises:
            UserError: unknown scores, a negative width, heads that do not divide it, or a rank below 1.
        """
        width = width_of_heads(width, d_model, heads)
        if scores not in SCORES:
            raise unknown_choice("scores", scores, SCORES)
        if rank < 1:
            raise ArgumentError("rank", f"must be at least 1; got {rank}")

        def learned(*shape: int) -> nnx.Param:
            return nnx.Param(jax.nn.initializers.glorot_uniform()(rngs.params(), shape))

        if scores == "dense":
            self.query = Linear(d_model, width, bias=False, rngs=rngs)  # W of all heads
            self.positions = learned(width // heads, max_length)
        elif dot_product:
            self.query = Linear(d_model, width, bias=False, rngs=rngs)
            self.keys = Linear(d_model, width, bias=False, rngs=rngs)
        if scores == "random":
            self.random = learned(heads, max_length, max_length)
        if scores == "factorized":
            self.rows = learned(heads, max_length, rank)
            self.columns = learned(heads, rank, max_length)
        self.values = Linear(d_model, width, bias=False, rngs=rngs)
        self.out = Linear(width, d_model, bias=False, rngs=rngs)
        self.scores = scores
        self.dot_product = dot_product
        self.heads = heads
        self.max_length = max_length

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded positions get no weight.

        Raises:
            UserError: more positions than the scores have.
        """
        length = x.shape[1]
        if length > self.max_length:
            raise UserError(f"Synthesizer takes inputs of up to max_length {self.max_length} positions; got {length}")
        lengths = None if mask is None else mask.sum(-1).astype(jnp.int32)
        v = self._split(self.values(x))
        if self.scores == "dense":
            # Rows relu(X W) and columns T are queries and keys whose products are not divided by sqrt(d).
            q = jax.nn.relu(self._split(self.query(x))) * v.shape[-1] ** 0.5
            positions = self.positions[...].T[:length, None].astype(x.dtype)
            y = ops.attention(q, jnp.broadcast_to(positions, v.shape), v, lengths=lengths)
        else:
            products = self.dot_product
            q, k = (self._split(m(x)) for m in (self.query, self.keys)) if products else [jnp.zeros_like(v)] * 2
            y = ops.attention(q, k, v, bias=self._learned(length).astype(x.dtype), lengths=lengths)
        return self.out(y.reshape(*x.shape[:2], -1))

    def _learned(self, length: int) -> Array:
        """R of all heads (n, l, l)."""
        if self.scores == "random":
            return self.random[:, :length, :length]
        return self.rows[:, :length] @ self.columns[:, :, :length]

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)
