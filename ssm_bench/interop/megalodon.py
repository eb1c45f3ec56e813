"""The blocks of XuezheMax/megalodon, from a `state_dict`."""

from typing import cast

import numpy as np
from flax import nnx

from ssm_bench.interop.places import Built, Place, Places, matrix, sizes
from ssm_bench.mixers.megalodon import Megalodon
from ssm_bench.network.layers import Linear, make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds import megalodon


def build(
    arrays: dict[str, np.ndarray], *, num_heads: int = 1, chunk_size: int = 2048, norm_num_groups: int = 32
) -> Built:
    """The causal block, and the places of its parameters.

    Names begin with "mega." and "nffn."; remove a prefix such as "layers.0.". A feed-forward network with a
    learned scale of its output (`rescale_nffn`) is not supported.

    Args:
        arrays: parameters and buffers by name.
        num_heads: number of heads.
        chunk_size: positions that attend to each other.
        norm_num_groups: groups of the normalization along time.
    """
    for buffer in ("prior_count", "prior_mean", "prior_logv"):
        arrays.pop(f"mega.timenorm.{buffer}", None)
    values, width = matrix(arrays, "mega.wv.weight")
    keys = matrix(arrays, "mega.wz.weight")[0]
    states = sizes(arrays, "mega.cema.alpha", 3)[1]
    hidden = matrix(arrays, "nffn.fc1.weight")[0]

    def mixer(width: int, rngs: nnx.Rngs) -> Megalodon:
        return Megalodon(
            width,
            state_size=states,
            width=values,
            key_width=keys,
            heads=num_heads,
            chunk=chunk_size,
            bidirectional=False,
            rngs=rngs,
        )

    slots = Slots(
        d_model=width,
        mixer=mixer,
        norm=lambda width: make_norm("layer", width),
        prenorm=True,
        dropout=0.0,
        tie_dropout=False,
        layers=1,
    )
    gated = "nffn.fc3.weight" in arrays
    block = megalodon.Megalodon(slots, width=hidden, groups=norm_num_groups, gated=gated, rngs=nnx.Rngs(0))
    places = _mixer(cast(Megalodon, block.mixer), width, states)
    places |= _norm("mega.timenorm", block.time_norm) | _norm("nffn.norm", block.norm)
    places |= _linear("nffn.fc1", block.expand) | _linear("nffn.fc2", block.contract)
    places |= {} if block.value is None else _linear("nffn.fc3", block.value)
    return Built(block, places, {}, width)


def _mixer(mixer: Megalodon, width: int, states: int) -> Places:
    average, keys = mixer.average, mixer.scale.shape[1]
    # They turn channels 2 j and 2 j + 1 of a head together, ours are half a head apart.
    order = np.arange(keys).reshape(mixer.heads, -1, 2).swapaxes(1, 2).reshape(-1)
    places = {
        "mega.cema.alpha": Place(average.alpha, (width, states, 1)),
        "mega.cema.delta": Place(average.delta, (width, states, 1)),
        "mega.cema.theta": Place(average.angle, (width, 1, 1)),
        "mega.cema.gamma": Place(average.gamma, (width, states, 2)),
        "mega.cema.omega": Place(average.omega, (width, 1)),
        "mega.rmsnorm.weight": Place(mixer.norm.scale, (width,), convert=_from_one),
        "mega.gamma": Place(mixer.scale, (2, keys), convert=lambda gamma: _from_one(gamma)[:, order]),
        "mega.beta": Place(mixer.offset, (2, keys), convert=lambda beta: beta[:, order]),
    }
    linears = {"wv": mixer.values, "wr": mixer.reset, "wh1": mixer.direct, "wh2": mixer.out}
    for name, linear in linears.items():
        places |= _linear(f"mega.{name}", linear)
    return places | _linear("mega.wz", mixer.shared, order)


def _from_one(array: np.ndarray) -> np.ndarray:
    """Scales that start at 1, of theirs, which start at 0."""
    return array + 1


def _norm(name: str, norm: nnx.Module) -> Places:
    scale, bias = norm.scale, norm.bias
    return {f"{name}.weight": Place(scale, scale.shape, convert=_from_one), f"{name}.bias": Place(bias, bias.shape)}


def _linear(name: str, linear: Linear, order: np.ndarray | slice = slice(None)) -> Places:
    weight = Place(linear.kernel, linear.kernel.shape[::-1], convert=lambda weight: weight[order].T)
    places = {f"{name}.weight": weight}
    if linear.bias is not None:
        places[f"{name}.bias"] = Place(linear.bias, linear.bias.shape, convert=lambda bias: bias[order])
    return places
