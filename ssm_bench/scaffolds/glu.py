"""The scaffold of S4, S5 and the LRU: mixer, activation with a gated linear unit, residual."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench.errors import unknown_choice
from ssm_bench.network.layers import Linear, dropout, kept, kept_with, side_by_side, split_key
from ssm_bench.network.residual import Residual
from ssm_bench.network.scaffold import Along, Scaffold, Slots

ACTIVATIONS = ("gelu", "glu", "half_glu1", "half_glu2", "linear")


class GLU(Scaffold):
    """x + gate(mixer(norm(x))), without an MLP.

    With y the mixer's output and g = gelu(y): "gelu" gives g; "linear" W g, the mixing of the first S4 and of DSS;
    "glu" (W1 g) * sigmoid(W2 g), that of S4 (Gu et al. 2022) since and of the LRU; "half_glu1" g * sigmoid(W g);
    "half_glu2" y * sigmoid(W g), both of S5 (Smith et al. 2023, appendix G). Dropout follows the GELU and the gate.
    """

    def __init__(self, slots: Slots, *, activation: str = "glu", rngs: nnx.Rngs):
        """Creates mixer, norm and gate.

        Args:
            slots: what the backbone provides.
            activation: "gelu", "glu", "half_glu1", "half_glu2" or "linear", as above.
            rngs: random keys.

        Raises:
            UserError: an activation that is not one of ACTIVATIONS.
        """
        if activation not in ACTIVATIONS:
            raise unknown_choice("activation", activation, ACTIVATIONS)
        super().__init__(slots)
        width = slots.d_model
        self.residual = Residual(slots)
        self.mixer = slots.mixer(width, rngs)
        self.value = Linear(width, width, rngs=rngs) if activation in ("glu", "linear") else None
        self.gate = Linear(width, width, rngs=rngs) if activation not in ("gelu", "linear") else None
        self.activation = activation
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
            mixer_key, gate_key = split_key(key, 2)
            return self._gated(along("mixer", y, mixer_key), gate_key)

        return self.residual(x, branch, mask=mask, train=train, key=key)

    def _gated(self, y: Array, key: PRNGKeyArray | None) -> Array:
        def activated(y: Array, key: Array | None) -> Array:
            return dropout(jax.nn.gelu(y), self.dropout, key, tied=self.tie_dropout)

        y, g = kept_with(activated, y, key) if self.activation == "half_glu2" else (y, activated(y, key))
        if self.value is not None and self.gate is not None:
            value, gate = side_by_side(g, self.value, self.gate)
            return value * jax.nn.sigmoid(gate)
        value = self.value(g) if self.value is not None else y if self.activation == "half_glu2" else g
        # Kept, or the compiler may tie the sigmoid to the product, and write it in a pass of its own where it does not.
        return value if self.gate is None else value * jax.nn.sigmoid(kept(self.gate(g)))
