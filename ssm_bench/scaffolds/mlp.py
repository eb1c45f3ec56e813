"""The scaffold of the Transformer: mixer with residual, then MLP with residual."""

import jax
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.network.layers import Linear, dropout, split_key
from ssm_bench.network.scaffold import Along, Scaffold, Slots


class MLP(Scaffold):
    """x + mixer(norm(x)), then x + W2 gelu(W1 norm(x)) (Vaswani et al. 2017; pre-norm: Xiong et al. 2020)."""

    def __init__(self, slots: Slots, *, width: int = 0, rngs: nnx.Rngs):
        """Creates mixer, MLP and their norms.

        Args:
            slots: what the backbone hands over.
            width: hidden width of the MLP; 0: 4 d_model.
            rngs: random keys.

        Raises:
            UserError: a negative width.
        """
        if width < 0:
            raise UserError(f"--config.scaffold.width must be at least 1, or 0 for 4 d_model; got {width}")
        d_model = slots.d_model
        self.mixer_norm = slots.norm(d_model)
        self.mixer = slots.mixer(d_model, rngs)
        self.mlp_norm = slots.norm(d_model)
        self.expand = Linear(d_model, width or 4 * d_model, rngs=rngs)
        self.contract = Linear(width or 4 * d_model, d_model, rngs=rngs)
        self.prenorm = slots.prenorm
        self.dropout = slots.dropout
        self.tie_dropout = slots.tie_dropout

    def block(
        self, x: jax.Array, along: Along, *, mask: jax.Array | None, train: bool, key: jax.Array | None
    ) -> jax.Array:
        """(b, l, h) -> (b, l, h)."""
        mixer_key, branch_key, hidden_key, output_key = split_key(key, 4)
        y = self.mixer_norm(x, mask, train=train) if self.prenorm else x
        y = along("mixer", y, mixer_key)
        x = x + dropout(y, self.dropout, branch_key, tied=self.tie_dropout)
        x = x if self.prenorm else self.mixer_norm(x, mask, train=train)

        y = self.mlp_norm(x, mask, train=train) if self.prenorm else x
        y = dropout(jax.nn.gelu(self.expand(y)), self.dropout, hidden_key, tied=self.tie_dropout)
        x = x + dropout(self.contract(y), self.dropout, output_key, tied=self.tie_dropout)
        return x if self.prenorm else self.mlp_norm(x, mask, train=train)
