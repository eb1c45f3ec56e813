"""The scaffold of H3: its gates and shift around any mixer, then an MLP."""

from dataclasses import replace

from flax import nnx

from ssm_bench.network.h3 import H3Layer
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.mlp import MLP


class H3(MLP):
    """x + W_o (q * mixer(shift(k) * v)), then x + W2 gelu(W1 norm(x)), where q, k and v are linear in norm(x).

    It is the scaffold "mlp" with an H3 layer for a mixer, and the mixer of the slot in the place of the layer's
    diagonal SSM: with "s4d" it is the published block (Fu et al. 2023, arXiv 2212.14052).
    """

    def __init__(self, slots: Slots, *, shift_size: int = 64, width: int = 0, rngs: nnx.Rngs):
        """Creates the layer, the MLP and their norms.

        Args:
            slots: see `Slots`.
            shift_size: inputs that the shift sees.
            width: hidden width of the MLP; 0: 4 d_model.
            rngs: random keys.

        Raises:
            UserError: an empty shift, or a negative width.
        """

        def layer(d_model: int, rngs: nnx.Rngs) -> H3Layer:
            return H3Layer(d_model, slots.mixer, shift_size=shift_size, rngs=rngs)

        super().__init__(replace(slots, mixer=layer), width=width, rngs=rngs)
