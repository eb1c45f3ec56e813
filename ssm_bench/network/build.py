"""From a configuration to a classifier."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from flax import nnx, traverse_util
from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.errors import ArgumentError, SettingError, UserError, unknown_choice, unknown_name
from ssm_bench.network.backbone import ENCODERS, Classifier, Embedding, Numbers, OneHot
from ssm_bench.network.denoiser import Denoiser
from ssm_bench.network.layers import make_norm
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import role_of
from ssm_bench.network.scaffold import Scaffold, Slots

#: The two slots of a block: section of the configuration, package, interface.
SLOTS = (("mixer", "mixers", Mixer), ("scaffold", "scaffolds", Scaffold))

#: What a mixer or scaffold is given by the network that it sits in.
NOT_OPTIONS = {"self", "d_model", "max_length", "context", "depth", "slots", "rngs"}


def options_of(kind: type) -> dict[str, Any]:
    """The options a mixer or scaffold takes, with their defaults."""
    parameters = inspect.signature(kind.__init__).parameters
    return {name: p.default for name, p in parameters.items() if name not in NOT_OPTIONS}


def _known_options(section: str, name: str, kind: type, options: ConfigDict) -> dict[str, Any]:
    for option in options:
        if option not in options_of(kind):
            raise unknown_name(f"option of {section} {name}", option, options_of(kind))
    return options.to_dict()


#: Token ids of pixels.
GRAY_LEVELS = 256

#: Where the arguments that the network itself hands to a mixer are set.
_SET_BY = {"d_model": "model.d_model", "context": "model.context", "max_length": "task.max_length"}


def _made(section: str, make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result of a constructor; where it refuses an argument, the error names the setting that it comes from."""
    try:
        return make(*arguments, **options)
    except SettingError:
        raise
    except ArgumentError as error:
        raise SettingError(_SET_BY.get(error.name, f"{section}.{error.name}"), *error.words) from error
    except UserError as error:
        # Operations and shared parts name several arguments, or none.
        raise SettingError(section, f": {error}") from error


def build(config: ConfigDict, spec: Any, *, vocab_size: int, pixels: tuple[float, float], rngs: nnx.Rngs) -> Classifier:
    """The classifier that a configuration describes.

    Args:
        config: a whole configuration (`ssm_bench.config`).
        spec: the task's `TaskSpec`: classes, documents, kind.
        vocab_size: number of token ids; 0 for pixels, whose ids are the gray levels.
        pixels: mean and standard deviation of gray levels, for the "linear" encoder of pixels.
        rngs: random keys.

    Raises:
        UserError: an unknown mixer, scaffold, option or choice, or impossible sizes.
    """
    model = config.model
    mixer_class = registry.subclass("mixers", model.mixer, Mixer)
    scaffold_class = registry.subclass("scaffolds", model.scaffold, Scaffold)
    mixer_options = _known_options("mixer", model.mixer, mixer_class, config.mixer)
    scaffold_options = _known_options("scaffold", model.scaffold, scaffold_class, config.scaffold)

    padding = model.paper_padding if config.protocol == "paper" else "nowhere"

    def norm(width: int):
        return _made("model", make_norm, model.norm, width, decay=model.norm_decay, masked=padding != "norms")

    max_length = config.task.max_length or spec.max_length
    longest = model.window or model.context + (model.pooling == "cls") + max_length
    sequence = {"max_length": longest, "context": model.context}
    asked = inspect.signature(mixer_class.__init__).parameters
    mixer_options |= {k: v for k, v in sequence.items() if k in asked}

    def mixer(index: int, width: int, rngs: nnx.Rngs) -> Mixer:
        depth = {"depth": index / model.layers} if "depth" in asked else {}
        return _made("mixer", mixer_class, width, **mixer_options, **depth, rngs=rngs)

    slots = Slots(
        d_model=model.d_model,
        mixer=partial(mixer, 0),
        norm=norm,
        prenorm=model.prenorm,
        dropout=model.dropout,
        tie_dropout=model.tie_dropout,
        layers=model.layers,
    )
    return _made(
        "model",
        Classifier,
        encoder=_made("model", _encoder, config, spec, vocab_size, pixels, rngs),
        block=lambda i, rngs: _made(
            "scaffold",
            scaffold_class,
            replace(slots, index=i, mixer=partial(mixer, i)),
            **scaffold_options,
            rngs=rngs,
        ),
        layers=model.layers,
        d_model=model.d_model,
        classes=spec.classes,
        documents=spec.documents,
        max_length=max_length,
        positions=model.positions,
        final_norm=norm(model.d_model) if model.final_norm else None,
        pooling=model.pooling,
        context=model.context,
        window=model.window,
        head_width=model.head_width,
        input_dropout=model.input_dropout,
        tie_dropout=model.tie_dropout,
        mask_padding=padding != "everywhere",
        precision=model.precision,
        scan_layers=model.scan_layers,
        rngs=rngs,
    )


class Split(NamedTuple):
    """A new model as plain pytrees.

    Attributes:
        graph: the model without its arrays; `nnx.merge(graph, params, stats)` is the model.
        params: pure tree of parameters.
        stats: pure tree of batch statistics.
        roles: the role of every parameter, a tree of strings shaped like `params`.
        state_size: as `Classifier.state_size`.
    """

    graph: nnx.GraphDef
    params: Any
    stats: Any
    roles: Any
    state_size: int | None


def split(model: Classifier | Denoiser) -> Split:
    """Takes a model apart, once; from here on it is functions of plain pytrees."""
    graph, params, stats = nnx.split(model, nnx.Param, ...)
    return Split(graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats), roles(model), model.state_size)


def roles(model: nnx.Module) -> dict[str, Any]:
    """The role of every parameter, as a tree of strings shaped like the pure tree of parameters."""
    flat = {path: role_of(type(variable)) for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    return traverse_util.unflatten_dict(flat)


def _encoder(config: ConfigDict, spec: Any, vocab_size: int, pixels: tuple[float, float], rngs: nnx.Rngs) -> nnx.Module:
    kind, width = config.model.encoder, config.model.d_model
    vocab_size = vocab_size or GRAY_LEVELS
    if kind == "auto":
        kind = "linear" if spec.kind == "pixels" else "embedding"
    if kind == "embedding":
        return Embedding(vocab_size, width, std=config.model.embedding_std, rngs=rngs)
    if kind == "one_hot":
        return OneHot(vocab_size, width, rngs=rngs)
    if kind == "linear":
        # Token ids enter as they are, one number each.
        mean, std = pixels if spec.kind == "pixels" else (0.0, 1.0)
        return Numbers(1, width, mean=mean, std=std, init=config.model.encoder_init, rngs=rngs)
    raise unknown_choice("encoder", kind, (*ENCODERS, "auto"))
