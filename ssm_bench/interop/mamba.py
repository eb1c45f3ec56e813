"""The layer of state-spaces/mamba, first version, with the names of its PyTorch `state_dict`."""

import jax
import numpy as np
from flax import nnx

from ssm_bench.interop.places import Built, Place, matrix, sizes
from ssm_bench.mixers.s6 import S6
from ssm_bench.network.scaffold import Slots, run_part
from ssm_bench.scaffolds.mamba import Mamba


class Layer(nnx.Module):
    """The scaffold "mamba" with S6, without norm and residual."""

    def __init__(self, width: int, expand: float, taps: int, state_size: int, dt_rank: int, rngs: nnx.Rngs):
        """Creates the block; its norm is never called."""
        slots = Slots(
            d_model=width,
            mixer=lambda width, rngs: S6(width, state_size=state_size, dt_rank=dt_rank, rngs=rngs),
            norm=lambda width: None,
            prenorm=True,
            dropout=0.0,
            tie_dropout=True,
            layers=1,
        )
        self.block = Mamba(slots, expand=expand, taps=taps, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h)."""
        return self.block.gated(x, lambda part, u, _: run_part(getattr(self.block, part), u, mask), None)


def build(arrays: dict[str, np.ndarray]) -> Built:
    """The layer, and the places of its parameters; it has no running statistics."""
    inner, states = matrix(arrays, "A_log")
    width, _ = matrix(arrays, "out_proj.weight")
    _, rank = matrix(arrays, "dt_proj.weight")
    *_, taps = sizes(arrays, "conv1d.weight", 3)
    layer = Layer(width, inner / width, taps, states, rank, nnx.Rngs(0))
    block, cell = layer.block, layer.block.mixer.forward
    assert block.conv.bias is not None
    places = {
        "in_proj.weight": Place(block.expand.kernel, (2 * inner, width), convert=np.transpose),
        # (channels, 1, taps), the newest position last.
        "conv1d.weight": Place(block.conv.kernel, (inner, 1, taps), convert=np.transpose),
        "conv1d.bias": Place(block.conv.bias, (inner,)),
        "x_proj.weight": Place(cell.projection.kernel, (rank + 2 * states, inner), convert=np.transpose),
        "dt_proj.weight": Place(cell.dt_kernel, (inner, rank), convert=np.transpose),
        "dt_proj.bias": Place(cell.dt_bias, (inner,)),
        "A_log": Place(cell.log_decay, (inner, states)),
        "D": Place(cell.D, (inner,)),
        "out_proj.weight": Place(block.contract.kernel, (width, inner), convert=np.transpose),
    }
    return Built(layer, places, {}, width)
