"""The scaffold of the Transformer: mixer with residual, then MLP with residual."""

from functools import partial

import jax
from flax import nnx

from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import Linear, dropout, split_key
from ssm_bench.network.residual import Residual
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
            raise ArgumentError("width", f"must be at least 1, or 0 for 4 d_model; got {width}")
        super().__init__(slots)
        d_model = slots.d_model
        self.mixer_residual = Residual(slots)
        self.mixer = slots.mixer(d_model, rngs)
        self.mlp_residual = Residual(slots)
        self.expand = Linear(d_model, width or 4 * d_model, rngs=rngs)
        self.contract = Linear(width or 4 * d_model, d_model, rngs=rngs)
        self.dropout = slots.dropout
        self.tie_dropout = slots.tie_dropout

    def block(
        self, x: jax.Array, along: Along, *, mask: jax.Array | None, train: bool, key: jax.Array | None
    ) -> jax.Array:
        """(b, l, h) -> (b, l, h)."""

        def mlp(y: jax.Array, key: jax.Array | None) -> jax.Array:
            def activate(hidden: jax.Array) -> jax.Array:
                return dropout(jax.nn.gelu(hidden), self.dropout, key, tied=self.tie_dropout)

            # Made again for the gradient: kept, its values and masks would be much of what a Transformer keeps.
            return self.contract(jax.checkpoint(activate)(self.expand(y)))

        mixer_key, mlp_key = split_key(key, 2)
        x = self.mixer_residual(x, partial(along, "mixer"), mask=mask, train=train, key=mixer_key)
        return self.mlp_residual(x, mlp, mask=mask, train=train, key=mlp_key)
