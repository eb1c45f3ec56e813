"""The classifiers of NicolasZucchet/minimal-LRU with batch normalization."""

import numpy as np
from flax import nnx

from ssm_bench.interop.classifier import classifier, count_layers
from ssm_bench.interop.places import Built, Place, matrix, sizes
from ssm_bench.mixers.lru import LRU


def build(arrays: dict[str, np.ndarray], *, pooling: str = "mean", bn_momentum: float = 0.99) -> Built:
    """The model, which takes ids or channels, and the places of parameters and of batch statistics.

    Args:
        arrays: parameters by name.
        pooling: "mean" or "last".
        bn_momentum: decay of the running statistics.
    """
    inputs, width = matrix(arrays, "encoder/encoder/kernel")
    states = sizes(arrays, "encoder/layers_0/seq/nu_log", 1)[0]

    def mixer(width: int, rngs: nnx.Rngs) -> LRU:
        return LRU(width, state_size=states, rngs=rngs)

    model, places, statistics = classifier(
        arrays,
        inputs,
        width,
        count_layers(arrays),
        mixer,
        "glu",
        norm="normalization",
        decay=bn_momentum,
        prenorm=True,
        pooling=pooling,
    )
    for layer, block in enumerate(model.blocks):
        name, unit = f"encoder/layers_{layer}/seq", block.mixer
        places |= {
            f"{name}/nu_log": Place(unit.nu, (states,)),
            f"{name}/theta_log": Place(unit.theta, (states,)),
            f"{name}/gamma_log": Place(unit.log_gamma, (states,)),
            f"{name}/D": Place(unit.D, (width,)),
        }
        for part, suffix in enumerate(("re", "im")):
            places[f"{name}/B_{suffix}"] = Place(unit.B, (states, width), (..., part))
            places[f"{name}/C_{suffix}"] = Place(unit.C, (width, states), (0, ..., part))
    return Built(model, places, statistics, inputs)
