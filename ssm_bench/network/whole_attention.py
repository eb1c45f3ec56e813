"""Multi-head attention in both directions, with the projections that all such mixers share."""

import abc

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits, WholeMixer


class WholeAttention(WholeMixer):
    """Queries, keys and values of several heads, and one map of their outputs; a subclass says who attends to whom."""

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(self, d_model: int, *, heads: int, width: int, rngs: nnx.Rngs):
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

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded keys get no weight."""
        lengths = None if mask is None else mask.sum(-1).astype(jnp.int32)
        y = self.attend(x, self.split(self.query(x)), self.split(self.keys(x)), self.split(self.values(x)), lengths)
        return self.out(y.reshape(*x.shape[:2], -1))

    @abc.abstractmethod
    def attend(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l n d"],
        k: Float[Array, "b l n d"],
        v: Float[Array, "b l n d"],
        lengths: Int[Array, " b"] | None,
    ) -> Float[Array, "b l n d"]:
        """The outputs of all heads (b, l, n, d).

        Args:
            x: inputs (b, l, h), zero in the padding.
            q: queries (b, l, n, d).
            k: keys (b, l, n, d), zero in the padding.
            v: values (b, l, n, d), zero in the padding.
            lengths: true lengths (b,), integers, or None.
        """

    def split(self, x: Float[Array, "b l width"]) -> Float[Array, "b l n d"]:
        """(b, l, n d) -> (b, l, n, d)."""
        return x.reshape(*x.shape[:-1], self.heads, -1)
