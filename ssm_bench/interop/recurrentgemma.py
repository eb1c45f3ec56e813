"""Layers of google-deepmind/recurrentgemma, the JAX version: an RG-LRU, or a whole residual block of Griffin."""

from typing import Any

import numpy as np
from flax import nnx

from ssm_bench.interop.classifier import dense
from ssm_bench.interop.places import Built, Place, Places, matrix, sizes
from ssm_bench.mixers.rg_lru import RGLRU, BlockDiagonal
from ssm_bench.network.layers import RMSNorm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.griffin import Griffin


def build(arrays: dict[str, np.ndarray], *, attention_window_size: int = 2048) -> Built:
    """The layer, and the places of its parameters; it has no running statistics.

    Args:
        arrays: parameters by name: those of an RGLRU ("a_param", ...), or of a ResidualBlock
            ("temporal_pre_norm/scale", ...), recurrent or with attention; a recurrent width is a multiple of 8.
        attention_window_size: positions that attention sees in addition to the present one.
    """
    if "temporal_pre_norm/scale" not in arrays:
        (width,) = sizes(arrays, "a_param", 1)
        blocks, _, _ = sizes(arrays, "a_gate/w", 3)
        mixer = RGLRU(width, blocks=blocks, rngs=nnx.Rngs(0))
        return Built(mixer, _rg_lru_places(mixer, ""), {}, width)
    if "attention_block/proj_k/kernel" in arrays:
        return _attention_block(arrays, attention_window_size)
    return _recurrent_block(arrays)


def _rg_lru_places(mixer: RGLRU, name: str) -> Places:
    def gate(gate: BlockDiagonal, name: str) -> Places:
        blocks, size, _ = gate.kernel.shape
        return {f"{name}/w": Place(gate.kernel, gate.kernel.shape), f"{name}/b": Place(gate.bias, (blocks, size))}

    cell = mixer.forward
    own = {f"{name}a_param": Place(cell.a_param, cell.a_param.shape)}
    return own | gate(cell.input_gate, f"{name}input_gate") | gate(cell.a_gate, f"{name}a_gate")


def _recurrent_block(arrays: dict[str, np.ndarray]) -> Built:
    d_model, width = matrix(arrays, "recurrent_block/linear_x/kernel")
    taps, _ = matrix(arrays, "recurrent_block/conv_1d/w")
    blocks, _, _ = sizes(arrays, "recurrent_block/rg_lru/a_gate/w", 3)
    slots = _slots(d_model, blocks, index=0)
    block = Griffin(slots, expand=width / d_model, taps=taps, mlp_expand=_mlp_expand(arrays), rngs=nnx.Rngs(0))
    hawk: Any = block.inner
    places = {
        "recurrent_block/conv_1d/w": Place(hawk.conv.kernel, (taps, width)),
        "recurrent_block/conv_1d/b": Place(hawk.conv.bias, (width,)),
    }
    for theirs, ours in (("linear_x", hawk.enter), ("linear_y", hawk.gate), ("linear_out", hawk.out)):
        places |= dense(f"recurrent_block/{theirs}", ours)
    places |= _rg_lru_places(hawk.mixer, "recurrent_block/rg_lru/")
    return Built(block, places | _shared_places(block), {}, d_model)


def _attention_block(arrays: dict[str, np.ndarray], window: int) -> Built:
    d_model, size = matrix(arrays, "attention_block/proj_k/kernel")
    slots = _slots(d_model, 1, index=2)
    expand = _mlp_expand(arrays)
    block = Griffin(slots, mlp_expand=expand, heads=d_model // size, window=window + 1, rngs=nnx.Rngs(0))
    attention = block.mixer
    parts = {"q": attention.query, "k": attention.keys, "v": attention.values, "final": attention.out}
    places: Places = {}
    for name, linear in parts.items():
        places |= dense(f"attention_block/proj_{name}", linear)
    return Built(block, places | _shared_places(block), {}, d_model)


def _slots(d_model: int, blocks: int, index: int) -> Slots:
    return Slots(
        d_model=d_model,
        mixer=lambda width, rngs: RGLRU(width, blocks=blocks if index < 2 else 1, rngs=rngs),
        norm=RMSNorm,
        prenorm=True,
        dropout=0.0,
        tie_dropout=True,
        layers=1,
        index=index,
    )


def _mlp_expand(arrays: dict[str, np.ndarray]) -> float:
    """Reads the MLP's size, and takes apart the arrays that hold both of its first maps: gate, then value."""
    _, d_model, hidden = sizes(arrays, "mlp_block/ffw_up/w", 3)
    for theirs, ours in (("w", "kernel"), ("b", "bias")):
        for part, array in enumerate(arrays.pop(f"mlp_block/ffw_up/{theirs}", ())):
            arrays[f"mlp_block/ffw_up[{part}]/{ours}"] = np.squeeze(array)
    return hidden / d_model


def _shared_places(block: Griffin) -> Places:
    """Norms and MLP; the scale of a norm is stored less 1."""
    inner, mlp = block.inner, block.inner.mlp
    (d_model,) = inner.mixer_residual.norm.scale.shape
    places = dense("mlp_block/ffw_down", mlp.out)
    for theirs, residual in (("temporal", inner.mixer_residual), ("channel", inner.mlp_residual)):
        scale = residual.norm.scale
        places[f"{theirs}_pre_norm/scale"] = Place(scale, (d_model,), convert=lambda scale: scale + 1)
    return places | dense("mlp_block/ffw_up[0]", mlp.gate) | dense("mlp_block/ffw_up[1]", mlp.value)
