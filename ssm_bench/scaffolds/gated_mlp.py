"""The residual block of Griffin around any mixer: mixer, then gated MLP, each with a residual."""

from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.network.layers import GEGLU, split_key
from ssm_bench.network.residual import Residual
from ssm_bench.network.scaffold import Along, Scaffold, Slots


class GatedMLP(Scaffold):
    """x + mixer(norm(x)), then x + W3 (gelu(W1 norm(x)) * W2 norm(x)).

    The weights of the last linear map start with a variance scaled by 2 / layers, so that the residual stream keeps its
    scale whatever the depth.

    Source: De et al. 2024, "Griffin" (arXiv 2402.19427), sections 2.1 and 2.2; the scale as in
    google-deepmind/recurrentgemma.
    """

    def __init__(self, slots: Slots, *, mlp_expand: float = 3.0, rngs: nnx.Rngs):
        """Creates mixer, gated MLP and their norms.

        Args:
            slots: what the backbone hands over.
            mlp_expand: hidden width of the MLP over h, above 0.
            rngs: random keys.

        Raises:
            UserError: an expansion that leaves no hidden width.
        """
        super().__init__(slots)
        self.mixer_residual = Residual(slots)
        self.mixer = slots.mixer(slots.d_model, rngs)
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
        mixer_key, mlp_key = split_key(key, 2)
        x = self.mixer_residual(x, lambda y, key: along("mixer", y, key), mask=mask, train=train, key=mixer_key)
        return self.mlp_residual(x, lambda y, _: self.mlp(y), mask=mask, train=train, key=mlp_key)
