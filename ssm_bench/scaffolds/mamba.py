"""The scaffold of Mamba and Mamba-2: a short convolution and the mixer, gated, in one branch."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.network.layers import Linear, RMSNorm, ShortConv, dropout, expanded, split_key
from ssm_bench.network.residual import Residual
from ssm_bench.network.scaffold import Along, Scaffold, Slots


class Mamba(Scaffold):
    """x + W_o (mixer(silu(conv(u))) * silu(z)), with (u, z) = W_i norm(x) of width expand * h; no MLP.

    Mamba-2 puts a norm after the gate (`norm_gated`). With `glu` the branch ends in GELU, dropout and a gated linear
    unit, as in the S6 of Alonso et al. 2024 (arXiv 2403.16899). The convolution looks back, and to both sides if the
    mixer does.

    Sources: Gu and Dao 2023 (arXiv 2312.00752), section 3.4; Dao and Gu 2024 (arXiv 2405.21060), section 7.
    """

    temporal = ("conv", "mixer")

    def __init__(
        self,
        slots: Slots,
        *,
        expand: float = 2.0,
        taps: int = 4,
        norm_gated: bool = False,
        glu: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates norm, projections, convolution and mixer.

        Args:
            slots: what the backbone provides.
            expand: width of the mixer over that of the residual stream.
            taps: taps of the convolution.
            norm_gated: RMS norm between gate and output projection.
            glu: GELU, dropout and a gated linear unit after the output projection.
            rngs: random keys.

        Raises:
            UserError: an expansion that leaves no channel, or no taps.
        """
        super().__init__(slots)
        d_model = slots.d_model
        width = expanded(d_model, expand, "expand")
        self.residual = Residual(slots)
        self.expand = Linear(d_model, 2 * width, bias=False, rngs=rngs)
        self.mixer = slots.mixer(width, rngs)
        self.conv = ShortConv(width, taps, causal=self.mixer.causal, rngs=rngs)
        self.gated_norm = RMSNorm(width, epsilon=1e-5) if norm_gated else None
        self.contract = Linear(width, d_model, bias=False, rngs=rngs)
        # So that the sum of all branches keeps its scale whatever the depth.
        self.contract.kernel[...] = self.contract.kernel[...] * slots.layers**-0.5
        self.glu = Linear(d_model, 2 * d_model, rngs=rngs) if glu else None
        self.dropout = slots.dropout
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

        def branch(y: Array, key: Array | None) -> Array:
            mixer_key, glu_key = split_key(key, 2)
            y = self.gated(y, along, mixer_key)
            if self.glu is None:
                return y
            y = dropout(jax.nn.gelu(y), self.dropout, glu_key, tied=self.tie_dropout)
            return jax.nn.glu(self.glu(y))

        return self.residual(x, branch, mask=mask, train=train, key=key)

    def gated(self, x: Float[Array, "b l h"], along: Along, key: PRNGKeyArray | None) -> Float[Array, "b l h"]:
        """The layer that the authors call Mamba: (b, l, h) -> (b, l, h), without norm and residual."""
        u, z = jnp.split(self.expand(x), 2, axis=-1)
        y = along("mixer", jax.nn.silu(along("conv", u, None)), key) * jax.nn.silu(z)
        return self.contract(y if self.gated_norm is None else self.gated_norm(y))
