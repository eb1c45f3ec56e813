"""The scaffold of Hawk: short convolution and mixer in parallel to a gate, then gated MLP."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import GEGLU, WIDEST, Linear, ShortConv, split_key
from ssm_bench.network.residual import Residual
from ssm_bench.network.scaffold import Along, Scaffold, Slots


class Hawk(Scaffold):
    """x + W_o (gelu(W_g y) * mixer(conv(W_i y))) with y = norm(x), then a gated MLP with a residual of its own.

    The last linear maps of both branches start with a variance scaled by 2 / layers. The convolution looks back, and
    to both sides if the mixer does.

    Source: De et al. 2024, "Griffin" (arXiv 2402.19427), sections 2.1 to 2.3; the scale as in
    google-deepmind/recurrentgemma.
    """

    temporal = ("conv", "mixer")

    def __init__(self, slots: Slots, *, expand: float = 4 / 3, taps: int = 4, mlp_expand: float = 3.0, rngs: nnx.Rngs):
        """Creates both branches and their norms.

        Args:
            slots: what the backbone hands over.
            expand: width of the mixer over h, above 0; rounded to a multiple of 8, which blocks and heads divide.
            taps: taps of the convolution, at least 1.
            mlp_expand: hidden width of the MLP over h, above 0.
            rngs: random keys.

        Raises:
            UserError: an expansion that is not positive or absurdly large, or no taps.
        """
        super().__init__(slots)
        width = mixer_width(slots.d_model, expand)
        self.mixer_residual = Residual(slots)
        self.enter = Linear(slots.d_model, width, rngs=rngs)
        self.gate = Linear(slots.d_model, width, rngs=rngs)
        self.mixer = slots.mixer(width, rngs)
        self.conv = ShortConv(width, taps, causal=self.mixer.causal, rngs=rngs)
        self.out = Linear(width, slots.d_model, variance=2 / slots.layers, rngs=rngs)
        self.mlp_residual = Residual(slots)
        self.mlp = GEGLU(slots.d_model, mlp_expand, variance=2 / slots.layers, rngs=rngs)

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
            u = along("conv", self.enter(y), None)
            return self.out(jax.nn.gelu(self.gate(y)) * along("mixer", u, key))

        mixer_key, mlp_key = split_key(key, 2)
        x = self.mixer_residual(x, branch, mask=mask, train=train, key=mixer_key)
        return self.mlp_residual(x, lambda y, _: self.mlp(y), mask=mask, train=train, key=mlp_key)


def mixer_width(d_model: int, expand: float) -> int:
    """`expand` times d_model, rounded to a multiple of 8.

    Raises:
        UserError: an expansion that is not positive or absurdly large.
    """
    if not 0 < expand <= WIDEST:
        raise ArgumentError("expand", f"must be above 0 and at most {WIDEST}; got {expand}")
    return max(8, 8 * round(expand * d_model / 8))
