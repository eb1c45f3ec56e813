"""What the classifiers of lindermanlab/S5 and NicolasZucchet/minimal-LRU share: all but the mixer."""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench.interop.places import Place, Places, matrix
from ssm_bench.network.backbone import Classifier, OneHot
from ssm_bench.network.layers import Linear, make_norm
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.glu import GLU


class DenseEncoder(nnx.Module):
    """The encoder of both sources: a dense layer, of one-hot vectors where the input is token ids."""

    def __init__(self, inputs: int, width: int, *, rngs: nnx.Rngs):
        """Creates the linear map (inputs, width)."""
        self.one_hot = OneHot(inputs, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, l) integers or (b, l, channels) floats -> (b, l, h)."""
        return self.one_hot(x) if jnp.issubdtype(x.dtype, jnp.integer) else self.one_hot.linear(x)


def classifier(
    arrays: dict[str, np.ndarray],
    inputs: int,
    width: int,
    layers: int,
    mixer: Callable[[int, nnx.Rngs], Mixer],
    activation: str,
    *,
    norm: str,
    decay: float,
    prenorm: bool,
    pooling: str,
) -> tuple[Classifier, Places, Places]:
    """The frame that both sources share; `norm` is what the authors call it. Places of all but the mixers."""
    pairs = "decoder/layer1/kernel" in arrays
    hidden = matrix(arrays, "decoder/layer1/kernel")[1] if pairs else 0
    head = "decoder/layer2" if pairs else "decoder"
    classes = matrix(arrays, f"{head}/kernel")[1]
    slots = Slots(
        d_model=width,
        mixer=mixer,
        norm=lambda width: make_norm("batch", width, decay=decay),
        prenorm=prenorm,
        dropout=0.0,
        tie_dropout=True,
        layers=layers,
    )
    rngs = nnx.Rngs(0)
    model = Classifier(
        encoder=DenseEncoder(inputs, width, rngs=rngs),
        block=lambda _, rngs: GLU(slots, activation=activation, rngs=rngs),
        layers=layers,
        d_model=width,
        classes=classes,
        documents=2 if pairs else 1,
        pooling=pooling,
        head_width=hidden,
        mask_padding=False,
        rngs=rngs,
    )
    places = dense("encoder/encoder", model.encoder.one_hot.linear) | dense(head, model.head)
    if model.head_hidden is not None:
        places |= dense("decoder/layer1", model.head_hidden)
    statistics: Places = {}
    for layer, block in enumerate(model.blocks):
        name = f"encoder/layers_{layer}"
        for gate, ours in (("out1", block.value), ("out2", block.gate)):
            places |= dense(f"{name}/{gate}", ours) if ours is not None else {}
        places[f"{name}/{norm}/scale"] = Place(block.residual.norm.scale, (width,))
        places[f"{name}/{norm}/bias"] = Place(block.residual.norm.bias, (width,))
        statistics[f"{name}/{norm}/mean"] = Place(block.residual.norm.mean, (width,))
        statistics[f"{name}/{norm}/var"] = Place(block.residual.norm.var, (width,))
    return model, places, statistics


def dense(name: str, linear: Linear) -> Places:
    """Kernel and bias of a Flax dense layer."""
    variables = {f"{name}/kernel": linear.kernel, f"{name}/bias": linear.bias}
    return {name: Place(variable, variable.shape) for name, variable in variables.items() if variable is not None}


def count_layers(arrays: dict[str, np.ndarray]) -> int:
    """Number of blocks, from their names."""
    found = {int(match[1]) for name in arrays if (match := re.match(r"encoder/layers_(\d+)/", name))}
    return max(found, default=-1) + 1
