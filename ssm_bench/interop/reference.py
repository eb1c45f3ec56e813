"""Published classifiers with the authors' parameters in modules of ours.

Parameters are named as in the authors' checkpoints, with "/" between the levels:
"encoder/layers_0/seq/Lambda_re". Each source describes its names once, as a table from name to the place in our model.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench.errors import UserError, unknown_name
from ssm_bench.models.lru import LRU
from ssm_bench.models.s5 import S5
from ssm_bench.network.backbone import Classifier, OneHot
from ssm_bench.network.layers import Linear, make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.glu import GLU


def load_reference(
    source: str, params: Mapping[str, Any], batch_stats: Mapping[str, Any] | None = None, **options: Any
) -> "ReferenceClassifier":
    """A classifier of ours that computes what the authors' code computes with these parameters.

    Sizes, number of layers, direction and head are read off the arrays.

    Args:
        source: the authors' repository, one of SOURCES.
        params: arrays by name, flat ("encoder/layers_0/seq/B") or nested, with or without a leading "params".
        batch_stats: running statistics of batch normalisation, named likewise, with or without a leading
            "batch_stats"; None: those before training, mean 0 and variance 1.
        **options: what the arrays cannot tell, under the authors' names and with their defaults.
            lindermanlab/S5: activation ("half_glu1", "half_glu2", "full_glu" or "gelu"), clip_eigs (False),
            discretization ("zoh"), bn_momentum (0.95), prenorm (True).
            NicolasZucchet/minimal-LRU: pooling ("mean" or "last"), bn_momentum (0.99).

    Raises:
        UserError: an unknown source or option, or parameters that are missing, superfluous or of a wrong shape.
    """
    if source not in SOURCES:
        raise unknown_name("source", source, SOURCES)
    arrays = _flat(params, "params")
    build, defaults = SOURCES[source]
    for option in options:
        if option not in defaults:
            raise unknown_name(f"option of {source}", option, defaults)
    model, parameters, statistics = build(arrays, **(defaults | options))
    _fill("parameter", parameters, arrays)
    if batch_stats is not None:
        _fill("batch statistic", statistics, _flat(batch_stats, "batch_stats"))
    return ReferenceClassifier(model, statistics)


class ReferenceClassifier:
    """A published classifier: `model` is ours, inputs and names are the authors'."""

    def __init__(self, model: Classifier, statistics: Mapping[str, "Place"]):
        """Keeps a filled model and where its running statistics are."""
        self.model = model
        self._statistics = statistics

    def log_probs(self, inputs: jax.Array, lengths: jax.Array | None = None, train: bool = False) -> jax.Array:
        """Log-probabilities (b, c), without dropout.

        Args:
            inputs: token ids (b, l), integers; or values (b, l, channels), floats. For a model of two documents the
                first half of the batch holds the first documents, the second half the second ones.
            lengths: true lengths (b,), or None. As in the authors' code only the pooling knows them: padding is part
                of the scans and of the batch statistics.
            train: normalise by the batch's own statistics, which moves the running ones (see `batch_stats`).

        Raises:
            UserError: a batch that cannot be split into pairs of documents.
        """
        documents = self.model.documents
        inputs = jnp.asarray(inputs)
        if inputs.shape[0] % documents:
            raise UserError(f"a batch of document pairs has an even number of rows; got {inputs.shape[0]}")
        inputs, lengths = jax.tree.map(
            lambda x: jnp.swapaxes(jnp.reshape(x, (documents, -1, *x.shape[1:])), 0, 1), (inputs, lengths)
        )
        graph, state = nnx.split(self.model)
        log_probs, statistics = _log_probs(graph, state, inputs, lengths, train)
        if train:
            nnx.update(self.model, statistics)
        return log_probs

    @property
    def batch_stats(self) -> dict[str, np.ndarray]:
        """The running statistics of batch normalisation, under the authors' names."""
        return {name: np.asarray(place.variable[...]) for name, place in self._statistics.items()}


@partial(jax.jit, static_argnames=("graph", "train"))
def _log_probs(graph, state, inputs, lengths, train):
    model = nnx.merge(graph, state)
    logits = model(inputs, lengths, train=train)
    return jax.nn.log_softmax(logits), nnx.state(model, nnx.BatchStat)


class DenseEncoder(nnx.Module):
    """The encoder of both sources: a dense layer, of one-hot vectors where the input is token ids."""

    def __init__(self, inputs: int, width: int, *, rngs: nnx.Rngs):
        """Creates the linear map (inputs, width)."""
        self.one_hot = OneHot(inputs, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(b, l) integers or (b, l, channels) floats -> (b, l, h)."""
        return self.one_hot(x) if jnp.issubdtype(x.dtype, jnp.integer) else self.one_hot.linear(x)


@dataclass(frozen=True)
class Place:
    """Where an array of the authors goes: a variable of ours, or the part of it at `index`."""

    variable: nnx.Variable
    shape: tuple[int, ...]
    index: Any = ...

    def put(self, array: np.ndarray) -> None:
        """Stores the array."""
        value = np.array(self.variable[...])
        value[self.index] = array.reshape(value[self.index].shape)
        self.variable[...] = jnp.asarray(value)


Places = dict[str, Place]


def _s5(
    arrays: dict[str, np.ndarray],
    *,
    activation: str,
    clip_eigs: bool,
    discretization: str,
    bn_momentum: float,
    prenorm: bool,
) -> tuple[Classifier, Places, Places]:
    """The classifiers of lindermanlab/S5, with conjugate symmetry as in all of its experiments."""
    inputs, width = _matrix(arrays, "encoder/encoder/kernel")
    states = _sizes(arrays, "encoder/layers_0/seq/Lambda_re", 1)[0]
    layers = _layers(arrays)
    for layer in range(layers):
        _split_joint_output(arrays, f"encoder/layers_{layer}/seq", states)
    bidirectional = "encoder/layers_0/seq/C1" in arrays
    if not activation:
        gates = [gate for gate in ("out1", "out2") if f"encoder/layers_0/{gate}/kernel" in arrays]
        activation = {0: "gelu", 1: "half_glu1", 2: "full_glu"}[len(gates)]
    ours = {"full_glu": "glu"}.get(activation, activation)

    def mixer(width: int, rngs: nnx.Rngs) -> S5:
        return S5(
            width,
            state_size=2 * states,
            clip_eigenvalues=clip_eigs,
            discretization=discretization,
            bidirectional=bidirectional,
            rngs=rngs,
        )

    model, places, statistics = _classifier(
        arrays, inputs, width, layers, mixer, ours, norm="norm", decay=bn_momentum, prenorm=prenorm, pooling="mean"
    )
    for layer, block in enumerate(model.blocks):
        name, ssm = f"encoder/layers_{layer}/seq", block.mixer
        places |= {
            f"{name}/Lambda_re": Place(ssm.lambda_real, (states,)),
            f"{name}/Lambda_im": Place(ssm.lambda_imag, (states,)),
            f"{name}/B": Place(ssm.B, (states, width, 2)),
            f"{name}/D": Place(ssm.D, (width,)),
            f"{name}/log_step": Place(ssm.log_dt, (states, 1)),
        }
        for index, output in enumerate(("C1", "C2") if bidirectional else ("C",)):
            places[f"{name}/{output}"] = Place(ssm.C, (width, states, 2), (index,))
    return model, places, statistics


def _split_joint_output(arrays: dict[str, np.ndarray], name: str, states: int) -> None:
    """With C_init "complex_normal" both directions share one array (h, 2 p, 2): takes it apart."""
    joint = arrays.get(f"{name}/C")
    if joint is not None and joint.ndim == 3 and joint.shape[1] == 2 * states:
        del arrays[f"{name}/C"]
        arrays[f"{name}/C1"], arrays[f"{name}/C2"] = joint[:, :states], joint[:, states:]


def _lru(arrays: dict[str, np.ndarray], *, pooling: str, bn_momentum: float) -> tuple[Classifier, Places, Places]:
    """The classifiers of NicolasZucchet/minimal-LRU with batch normalisation."""
    inputs, width = _matrix(arrays, "encoder/encoder/kernel")
    states = _sizes(arrays, "encoder/layers_0/seq/nu_log", 1)[0]

    def mixer(width: int, rngs: nnx.Rngs) -> LRU:
        return LRU(width, state_size=states, rngs=rngs)

    model, places, statistics = _classifier(
        arrays,
        inputs,
        width,
        _layers(arrays),
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
    return model, places, statistics


#: What builds a source's model, and the options with their defaults.
SOURCES: dict[str, tuple[Callable[..., tuple[Classifier, Places, Places]], dict[str, Any]]] = {
    "lindermanlab/S5": (
        _s5,
        {"activation": "", "clip_eigs": False, "discretization": "zoh", "bn_momentum": 0.95, "prenorm": True},
    ),
    "NicolasZucchet/minimal-LRU": (_lru, {"pooling": "mean", "bn_momentum": 0.99}),
}


def _classifier(
    arrays: dict[str, np.ndarray],
    inputs: int,
    width: int,
    layers: int,
    mixer: Callable[[int, nnx.Rngs], S5 | LRU],
    activation: str,
    *,
    norm: str,
    decay: float,
    prenorm: bool,
    pooling: str,
) -> tuple[Classifier, Places, Places]:
    """The frame that both sources share; `norm` is what the authors call it. Places of all but the mixers."""
    pairs = "decoder/layer1/kernel" in arrays
    hidden = _matrix(arrays, "decoder/layer1/kernel")[1] if pairs else 0
    head = "decoder/layer2" if pairs else "decoder"
    classes = _matrix(arrays, f"{head}/kernel")[1]
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
    places = _dense("encoder/encoder", model.encoder.one_hot.linear) | _dense(head, model.head)
    if model.head_hidden is not None:
        places |= _dense("decoder/layer1", model.head_hidden)
    statistics: Places = {}
    for layer, block in enumerate(model.blocks):
        name = f"encoder/layers_{layer}"
        for dense, ours in (("out1", block.value), ("out2", block.gate)):
            places |= _dense(f"{name}/{dense}", ours) if ours is not None else {}
        places[f"{name}/{norm}/scale"] = Place(block.norm.scale, (width,))
        places[f"{name}/{norm}/bias"] = Place(block.norm.bias, (width,))
        statistics[f"{name}/{norm}/mean"] = Place(block.norm.mean, (width,))
        statistics[f"{name}/{norm}/var"] = Place(block.norm.var, (width,))
    return model, places, statistics


def _dense(name: str, linear: Linear) -> Places:
    variables = {f"{name}/kernel": linear.kernel, f"{name}/bias": linear.bias}
    return {name: Place(variable, variable.shape) for name, variable in variables.items() if variable is not None}


def _flat(tree: Mapping[str, Any], root: str) -> dict[str, np.ndarray]:
    """Arrays by their names joined with "/", without the root."""
    arrays = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            arrays |= {f"{name}/{inner}": array for inner, array in _flat(value, "").items()}
        else:
            arrays[name] = np.asarray(value)
    return {name.removeprefix(f"{root}/"): array for name, array in arrays.items()}


def _sizes(arrays: dict[str, np.ndarray], name: str, rank: int) -> tuple[int, ...]:
    """The shape of an array that tells the sizes of the model."""
    if name not in arrays:
        raise UserError(f"parameter {name} is missing; seen: {_some(arrays)}")
    if arrays[name].ndim != rank:
        raise UserError(f"parameter {name} must have {rank} axes; its shape is {arrays[name].shape}")
    return arrays[name].shape


def _matrix(arrays: dict[str, np.ndarray], name: str) -> tuple[int, int]:
    rows, columns = _sizes(arrays, name, 2)
    return rows, columns


def _layers(arrays: dict[str, np.ndarray]) -> int:
    found = {int(match[1]) for name in arrays if (match := re.match(r"encoder/layers_(\d+)/", name))}
    return max(found, default=-1) + 1


def _fill(kind: str, places: Places, arrays: dict[str, np.ndarray]) -> None:
    """Puts every array in its place."""
    missing, superfluous = sorted(places.keys() - arrays.keys()), sorted(arrays.keys() - places.keys())
    problems = [f"missing: {_some(missing)}"] if missing else []
    problems += [f"superfluous: {_some(superfluous)}"] if superfluous else []
    if problems:
        raise UserError(f"the names of the {kind}s do not fit; {'; '.join(problems)}")
    for name, place in places.items():
        if arrays[name].shape != place.shape:
            raise UserError(f"{kind} {name} must have shape {place.shape}; got {arrays[name].shape}")
    for name, place in places.items():
        place.put(arrays[name])


def _some(names: Any) -> str:
    names = sorted(names)
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) or "nothing") + rest
