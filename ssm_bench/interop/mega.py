"""The layers of facebookresearch/mega: gated attention over a moving average and NFFN, from a `state_dict`."""

from typing import cast

import numpy as np
from flax import nnx

from ssm_bench.interop.places import Built, Place, Places, matrix, sizes
from ssm_bench.mixers.mega import Mega
from ssm_bench.network.layers import BatchNorm, Linear, RMSNorm, make_norm
from ssm_bench.network.residual import Residual
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.mlp import MLP


def build(
    arrays: dict[str, np.ndarray],
    *,
    attention_activation: str = "softmax",
    prenorm: bool = True,
    norm_type: str = "layernorm",
    chunk_size: int = -1,
    truncation: int = 0,
) -> Built:
    """The block, and the places of its parameters.

    Takes a `MegaSentenceEncoderLayer`: bidirectional where the moving average has two systems for each channel. A
    layer of a whole model has a prefix before its names, such as "encoder.encoder.layers.0.", which you must remove.

    Args:
        arrays: parameters and buffers by name.
        attention_activation: "softmax", "laplace" or "relu2".
        prenorm: norms first, as with `--encoder-normalize-before`.
        norm_type: "layernorm", "scalenorm", "rmsnorm", "batchnorm" or "syncbatchnorm".
        chunk_size: positions that attend to each other; -1: all.
        truncation: taps of the moving average; 0: all.
    """
    for buffer in [name for name in arrays if name.endswith(("num_batches_tracked", "_float_tensor"))]:
        arrays.pop(buffer)
    values, width = matrix(arrays, "mega_layer.v_proj.weight")
    hidden = matrix(arrays, "nffn.fc1.weight")[0]
    systems, states, _ = sizes(arrays, "mega_layer.move.delta", 3)
    keys = matrix(arrays, "mega_layer.gamma")[1]
    simple = "mega_layer.rel_pos_bias.rel_pos_bias" in arrays
    positions = (sizes(arrays, "mega_layer.rel_pos_bias.rel_pos_bias", 1)[0] + 1) // 2 if simple else 2**12
    norm = norm_type.removeprefix("sync").removesuffix("norm")

    def mixer(width: int, rngs: nnx.Rngs) -> Mega:
        return Mega(
            width,
            state_size=states,
            width=values,
            key_width=keys,
            attention=attention_activation,
            bias="simple" if simple else "rotary",
            chunk=max(chunk_size, 0),
            truncation=truncation,
            bidirectional=systems == 2 * width,
            max_length=positions,
            rngs=rngs,
        )

    slots = Slots(
        d_model=width,
        mixer=mixer,
        norm=lambda width: RMSNorm(width, epsilon=1e-5) if norm == "rms" else make_norm(norm, width),
        prenorm=prenorm,
        dropout=0.0,
        tie_dropout=False,
        layers=1,
    )
    block = MLP(slots, width=hidden, nonlinearity="silu", rngs=nnx.Rngs(0))
    places = (
        _mixer(cast(Mega, block.mixer), (systems, states))
        | _norm("mega_layer.norm.norm", block.mixer_residual)
        | _norm("nffn.norm.norm", block.mlp_residual)
        | _linear("nffn.fc1", block.expand)
        | _linear("nffn.fc2", block.contract)
    )
    return Built(block, places, {}, width)


def _mixer(mixer: Mega, systems: tuple[int, int]) -> Places:
    # What the paper calls alpha is delta in the code, and the other way around.
    average = {
        "delta": mixer.average.alpha,
        "alpha": mixer.average.delta,
        "beta": mixer.average.beta,
    }
    places = {f"mega_layer.move.{name}": Place(ours, (*systems, 1)) for name, ours in average.items()}
    others = {"move.gamma": mixer.average.gamma, "move.omega": mixer.average.omega}
    others |= {"gamma": mixer.scale, "beta": mixer.offset}
    places |= {f"mega_layer.{name}": Place(ours, ours.shape) for name, ours in others.items()}
    if mixer.distances is not None:
        places["mega_layer.rel_pos_bias.rel_pos_bias"] = Place(mixer.distances, mixer.distances.shape)
    if mixer.turned is not None:
        shape = (1, mixer.turned.shape[1])
        for row, name in enumerate(("alpha", "beta")):
            places[f"mega_layer.rel_pos_bias.{name}"] = Place(mixer.turned, shape, row)
    for name, ours in (("v_proj", mixer.values), ("mx_proj", mixer.inner), ("h_proj", mixer.out)):
        places |= _linear(f"mega_layer.{name}", ours)
    return places


def _linear(name: str, linear: Linear) -> Places:
    assert linear.bias is not None
    weight = Place(linear.kernel, linear.kernel.shape[::-1], convert=np.transpose)
    return {f"{name}.weight": weight, f"{name}.bias": Place(linear.bias, linear.bias.shape)}


def _norm(name: str, residual: Residual) -> Places:
    norm = residual.norm
    scale = "scalar" if norm.scale.shape == (1,) else "weight"
    places = {f"{name}.{scale}": Place(norm.scale, norm.scale.shape)}
    if hasattr(norm, "bias"):
        places[f"{name}.bias"] = Place(norm.bias, norm.bias.shape)
    if isinstance(norm, BatchNorm):
        places[f"{name}.running_mean"] = Place(norm.mean, norm.mean.shape)
        places[f"{name}.running_var"] = Place(norm.var, norm.var.shape)
    return places
