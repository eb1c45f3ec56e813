"""The scaffold of the Transformer and of Mega: mixer with residual, then MLP with residual."""

from dataclasses import replace

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.layers import Linear, dropout, split_key
from ssm_bench.network.residual import Residual
from ssm_bench.network.scaffold import Along, Scaffold, Slots

ACTIVATIONS = {"gelu": jax.nn.gelu, "silu": jax.nn.silu}


class MLP(Scaffold):
    """x + mixer(norm(x)), then x + W2 gelu(W1 norm(x)) (Vaswani et al. 2017; pre-norm: Xiong et al. 2020).

    A mixer with gates of its own also gets x, and its output no dropout. With the nonlinearity "silu" and without
    hidden dropout it is the block of Mega (Ma et al. 2022, arXiv 2209.10655, section 3.5).
    """

    def __init__(
        self,
        slots: Slots,
        *,
        width: int = 0,
        nonlinearity: str = "gelu",
        hidden_dropout: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates mixer, MLP and their norms.

        Args:
            slots: what the backbone hands over.
            width: hidden width of the MLP; 0: 4 d_model.
            nonlinearity: "gelu" or "silu".
            hidden_dropout: whether the hidden units of the MLP also get dropout.
            rngs: random keys.

        Raises:
            UserError: a negative width, or an unknown nonlinearity.
        """
        if width < 0:
            raise ArgumentError("width", f"must be at least 1, or 0 for 4 d_model; got {width}")
        if nonlinearity not in ACTIVATIONS:
            raise unknown_choice("nonlinearity", nonlinearity, tuple(ACTIVATIONS))
        super().__init__(slots)
        d_model = slots.d_model
        self.mixer = slots.mixer(d_model, rngs)
        self.mixer_residual = Residual(replace(slots, dropout=0.0) if self.mixer.takes_residual else slots)
        self.mlp_residual = Residual(slots)
        self.expand = Linear(d_model, width or 4 * d_model, rngs=rngs)
        self.contract = Linear(width or 4 * d_model, d_model, rngs=rngs)
        self.nonlinearity = nonlinearity
        self.dropout = slots.dropout if hidden_dropout else 0.0
        self.tie_dropout = slots.tie_dropout

    def block(
        self,
        x: Float[Array, "b l h"],
        along: Along,
        *,
        mask: Bool[Array, "b l"] | None,
        train: bool,
        key: PRNGKeyArray | None,
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h)."""
        more = {"residual": x} if self.mixer.takes_residual else {}

        def mix(y: Array, key: Array | None) -> Array:
            return along("mixer", y, key, **more)

        def mlp(y: Array, key: Array | None) -> Array:
            def activate(hidden: Array) -> Array:
                return dropout(ACTIVATIONS[self.nonlinearity](hidden), self.dropout, key, tied=self.tie_dropout)

            # Made again for the gradient: kept, its values and masks would be much of what a Transformer keeps.
            return self.contract(jax.checkpoint(activate)(self.expand(y)))

        mixer_key, mlp_key = split_key(key, 2)
        x = self.mixer_residual(x, mix, mask=mask, train=train, key=mixer_key)
        return self.mlp_residual(x, mlp, mask=mask, train=train, key=mlp_key)
