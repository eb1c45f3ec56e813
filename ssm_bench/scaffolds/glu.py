"""The scaffold of S4, S5 and the LRU: mixer, activation with a gated linear unit, residual."""

import jax
from flax import nnx

from ssm_bench.errors import unknown_name
from ssm_bench.network.layers import Linear, dropout, split_key
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

        Raises:
            UserError: an activation that is not one of ACTIVATIONS.
        """
        if activation not in ACTIVATIONS:
            raise unknown_name("--config.scaffold.activation", activation, ACTIVATIONS)
        width = slots.d_model
        self.norm = slots.norm(width)
        self.mixer = slots.mixer(width, rngs)
        self.value = Linear(width, width, rngs=rngs) if activation in ("glu", "linear") else None
        self.gate = Linear(width, width, rngs=rngs) if activation not in ("gelu", "linear") else None
        self.activation = activation
        self.prenorm = slots.prenorm
        self.dropout = slots.dropout
        self.tie_dropout = slots.tie_dropout

    def block(
        self, x: jax.Array, along: Along, *, mask: jax.Array | None, train: bool, key: jax.Array | None
    ) -> jax.Array:
        """(b, l, h) -> (b, l, h)."""
        mixer_key, inner_key, outer_key = split_key(key, 3)
        y = self.norm(x, mask, train=train) if self.prenorm else x
        y = self._gated(along("mixer", y, mixer_key), inner_key)
        x = x + dropout(y, self.dropout, outer_key, tied=self.tie_dropout)
        return x if self.prenorm else self.norm(x, mask, train=train)

    def _gated(self, y: jax.Array, key: jax.Array | None) -> jax.Array:
        g = dropout(jax.nn.gelu(y), self.dropout, key, tied=self.tie_dropout)
        value = self.value(g) if self.value is not None else y if self.activation == "half_glu2" else g
        return value if self.gate is None else value * jax.nn.sigmoid(self.gate(g))
