"""Where arrays of the authors go in a model of ours.

Each source describes its names once, as a table from the authors' name to its place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where an array goes.

    Attributes:
        variable: a variable of ours.
        shape: the shape the authors' array must have.
        index: the part of the variable that the array fills.
        convert: what makes our values of theirs, such as a transpose; None keeps them.
    """

    variable: nnx.Variable
    shape: tuple[int, ...]
    index: Any = ...
    convert: Callable[[np.ndarray], np.ndarray] | None = None

    def put(self, array: np.ndarray) -> None:
        """Stores the array."""
        value = np.array(self.variable[...])
        array = array if self.convert is None else self.convert(array)
        value[self.index] = array.reshape(value[self.index].shape)
        self.variable[...] = jnp.asarray(value)


Places = dict[str, Place]


class Built(NamedTuple):
    """The model of a source, before the authors' arrays are in it.

    Attributes:
        model: a module of ours: a classifier, or a layer called with x and a mask.
        parameters: where the authors' parameters go.
        statistics: where their running statistics go.
        width: real numbers a position of what it takes; of token ids, how many there are.
    """

    model: nnx.Module
    parameters: Places
    statistics: Places
    width: int


def flat(tree: Mapping[str, Any], root: str) -> dict[str, np.ndarray]:
    """Arrays by their names joined with "/", without the root.

    Raises:
        UserError: no mapping, or something else than numbers in it.
    """
    if not isinstance(tree, Mapping):
        raise UserError(f"{root} must be a mapping from names to arrays; got {type(tree).__name__}")
    arrays = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            arrays |= {f"{name}/{inner}": array for inner, array in flat(value, "").items()}
        else:
            arrays[name] = np.asarray(value)
            if not jnp.issubdtype(arrays[name].dtype, jnp.number):
                raise UserError(f"{name} must be an array of numbers; got {value!r:.60}")
    return {name.removeprefix(f"{root}/"): array for name, array in arrays.items()}


def sizes(arrays: dict[str, np.ndarray], name: str, rank: int) -> tuple[int, ...]:
    """The shape of an array that determines the sizes of the model."""
    if name not in arrays:
        raise UserError(f"parameter {name} is missing; seen: {_some(arrays)}")
    if arrays[name].ndim != rank or not arrays[name].size:
        raise UserError(f"parameter {name} must have {rank} axes, none empty; its shape is {arrays[name].shape}")
    return arrays[name].shape


def matrix(arrays: dict[str, np.ndarray], name: str) -> tuple[int, int]:
    """The shape of a matrix."""
    rows, columns = sizes(arrays, name, 2)
    return rows, columns


def fill(kind: str, places: Places, arrays: dict[str, np.ndarray]) -> None:
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
