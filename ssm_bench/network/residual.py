"""The residual connection around a branch of a scaffold."""

from collections.abc import Callable

from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.network.layers import dropout, split_key
from ssm_bench.network.scaffold import Slots


class Residual(nnx.Module):
    """x + branch(norm(x)), or norm(x + branch(x)) without prenorm; dropout on what the branch gives."""

    def __init__(self, slots: Slots):
        """Creates the norm."""
        self.norm = slots.norm(slots.d_model)
        self.prenorm = slots.prenorm
        self.dropout = slots.dropout
        self.tie_dropout = slots.tie_dropout

    def __call__(
        self,
        x: Float[Array, "b l h"],
        branch: Callable[[Float[Array, "b l h"], PRNGKeyArray | None], Float[Array, "b l h"]],
        *,
        mask: Bool[Array, "b l"] | None,
        train: bool,
        key: PRNGKeyArray | None,
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); the branch gets its input and a key for dropout of its own."""
        branch_key, own_key = split_key(key, 2)
        y = branch(self.norm(x, mask, train=train) if self.prenorm else x, branch_key)
        x = x + dropout(y, self.dropout, own_key, tied=self.tie_dropout)
        return x if self.prenorm else self.norm(x, mask, train=train)
