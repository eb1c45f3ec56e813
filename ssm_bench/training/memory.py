"""Memory that a configuration would need, estimated from shapes before anything is allocated."""

import math
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend import core
from ml_collections import ConfigDict

from ssm_bench.errors import SettingError, UserError
from ssm_bench.network.build import build, split

#: Runs of at most these sizes are not estimated: they fit wherever a published recipe fits.
USUAL_SIZE, USUAL_LAYERS = 2048, 16

#: The largest size of any array axis that a setting names. Arrays of one such axis fit into any memory, so that
#: constructors may build them on the host.
LARGEST_SIZE = 2**24

#: Blocks that are traced; further ones cost as much as these.
_TRACED_LAYERS = 3

#: Copies of the parameters in a training step: themselves, gradients and two moments of Adam.
_COPIES = 4

#: The compiler fuses many intermediate arrays away. One that is so many times the memory is still refused.
_FUSED = 2

_SIZES = ("d_model", "layers", "context", "head_width")


def check_memory(config: ConfigDict, spec: Any, *, vocab_size: int) -> None:
    """Refuses sizes whose parameters or activations cannot fit into the memory of a device.

    The estimate is a lower bound: parameters, gradients and moments of the optimizer, or the largest array of a
    forward pass. Nothing is allocated or compiled.

    Args:
        config: a resolved configuration.
        spec: the `TaskSpec` of its task.
        vocab_size: number of token ids.

    Raises:
        UserError: with the largest settings, the memory they need, and the memory there is.
    """
    sizes = size_settings(config)
    for name, size in sizes.items():
        if size > LARGEST_SIZE:
            raise SettingError(name, f"must be at most {LARGEST_SIZE}; got {size}")
    if max(sizes.values()) <= USUAL_SIZE and config.model.layers <= USUAL_LAYERS:
        return
    memory = device_memory()
    try:
        what, need = _needs(config, spec, vocab_size, memory)
    except (MemoryError, OverflowError) as error:
        raise UserError(f"{_largest(sizes)}: larger than any array can be ({error})") from error
    if need > memory:
        raise UserError(f"{_largest(sizes)}: {what} need {amount(need)} of memory, and there are {amount(memory)}")


def size_settings(config: ConfigDict) -> dict[str, int]:
    """The settings that are sizes of arrays, by name, largest first."""
    found = {f"model.{name}": config.model[name] for name in _SIZES}
    for section in ("mixer", "scaffold"):
        for name, value in config[section].items():
            if isinstance(value, int) and not isinstance(value, bool) and name != "seed":
                found[f"{section}.{name}"] = value
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def device_memory() -> int:
    """Bytes of memory of the first device; for a CPU, of the machine."""
    device = jax.local_devices()[0]
    if device.platform != "cpu" and (limit := (device.memory_stats() or {}).get("bytes_limit")):
        return limit
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def amount(size: float) -> str:
    """A number of bytes in a readable unit."""
    unit = min(int(math.log(size, 1000)), 6) if size else 0
    return f"{size / 1000**unit:.3g} {('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[unit]}"


def _needs(config: ConfigDict, spec: Any, vocab_size: int, memory: int) -> tuple[str, float]:
    """What needs most memory, in words, and how many bytes."""
    layers, traced = config.model.layers, min(config.model.layers, _TRACED_LAYERS)
    config = config.copy_and_resolve_references()
    config.model.layers = traced
    kept = []

    def make() -> tuple[Any, Any]:
        model = split(build(config, spec, vocab_size=vocab_size, pixels=(0.0, 1.0), rngs=nnx.Rngs(0)))
        kept.append(model.graph)
        return model.params, model.stats

    params, stats = jax.eval_shape(make)
    blocks = _bytes(params["blocks"])
    need = _COPIES * (_bytes(params) - blocks + blocks / traced * layers)
    if need > memory:
        return "parameters, gradients and optimizer", need

    def forward(params: Any, stats: Any, inputs: jax.Array) -> jax.Array:
        return nnx.merge(kept[0], params, stats)(inputs, None, train=True, key=jax.random.key(0))

    length = config.task.max_length or spec.max_length
    batch, positions = config.train.batch_size // config.train.accumulate, config.train.segment or length
    shape = (batch, spec.documents, min(length, positions))
    program = jax.make_jaxpr(forward)(params, stats, jax.ShapeDtypeStruct(shape, jnp.uint8))
    largest = max((_bytes(value.aval) for value in _values(program.jaxpr)), default=0)
    return "activations", max(need, largest / _FUSED)


def _values(program: core.Jaxpr) -> Iterator[Any]:
    """What the equations of a program compute, those of programs inside it included."""
    for equation in program.eqns:
        yield from equation.outvars
        if equation.primitive.name != "pallas_call":  # its arrays are blocks in registers
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
                if _is_program(inner):
                    yield from _values(getattr(inner, "jaxpr", inner))


def _is_program(value: Any) -> bool:
    return isinstance(value, core.Jaxpr | core.ClosedJaxpr)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _largest(sizes: dict[str, int]) -> str:
    """The settings that are likely to be responsible: the largest one, and those of its order of magnitude."""
    top = max(sizes.values())
    return ", ".join(f"--config.{name}={size}" for name, size in list(sizes.items())[:3] if 4 * size >= top)
