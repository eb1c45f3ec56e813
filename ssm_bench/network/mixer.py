"""The interface of a sequence mixer."""

import abc
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from ssm_bench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What kind of system a mixer is: the columns of Table I of the control theoretic overview (arXiv 2403.16899).

    Attributes:
        parametrization: "LTI" (linear, constant in time), "LTV" (linear in the state, with coefficients that depend on
            the input or on the position) or "nonlinear".
        discretization: the rule that makes it discrete, "none" for one that was never continuous; a mixer with the
            option `discretization` gives the default of that option.
        structure: "SISO", each channel a system of its own, which the others reach through its coefficients at most:
            a channel without input gives what it gives if no channel has any; or "MIMO", where channels meet.
        implementation: how whole sequences are computed: "convolution", "scan", "recurrence", "matrix product"
            or "Fourier transform".
    """

    parametrization: str
    discretization: str
    structure: str
    implementation: str


#: Axes of what enters each of a mixer's ways of running.
AXES = {"__call__": "(batch, length, width)", "extend": "(batch, length, width)", "step": "(batch, width)"}


def _checked(run: Callable) -> Callable:
    """One of a mixer's ways of running that refuses arrays of another rank or width, empty ones, and integers."""
    axes = AXES[run.__name__]

    @functools.wraps(run)
    def checked(self: "Mixer", x: jax.Array, *rest: Any, **named: Any) -> Any:
        if x.ndim != axes.count(",") + 1:
            raise UserError(f"{type(self).__name__} takes inputs {axes}; got the shape {x.shape}")
        if x.shape[-1] != self.d_model:
            raise UserError(f"{type(self).__name__} takes inputs of width {self.d_model}; got the shape {x.shape}")
        if not x.size:
            raise UserError(f"{type(self).__name__} takes at least one sequence and position; got the shape {x.shape}")
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise UserError(f"{type(self).__name__} takes inputs of a float type; got {x.dtype}")
        return run(self, x, *rest, **named)

    return checked


def _without_padding(run: Callable) -> Callable:
    """A mixer's `__call__` that finds zeros at padded positions, so that not even NaN there gets anywhere."""

    @functools.wraps(run)
    def emptied(self: "Mixer", x: jax.Array, mask: jax.Array | None = None, **named: Any) -> Any:
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != bool):
            given = f"{mask.dtype} of shape {mask.shape}"
            raise UserError(
                f"{type(self).__name__} takes a mask of bool {x.shape[:2]} for inputs {x.shape}; got {given}"
            )
        return run(self, x if mask is None else jnp.where(mask[..., None], x, 0), mask, **named)

    return emptied


def _noting_the_width(make: Callable) -> Callable:
    """The constructor of a mixer that also keeps the width it is made for."""

    @functools.wraps(make)
    def noting(self: "Mixer", d_model: int, *rest: Any, **named: Any) -> None:
        self.d_model = d_model
        make(self, d_model, *rest, **named)

    return noting


class Mixer(nnx.Module, abc.ABC):
    """Maps a sequence (b, l, h) to a sequence (b, l, h); the only part of a model that looks along time.

    A subclass is final, lives in `ssm_bench.mixers.<name>`, says its `traits`, and its constructor takes `d_model`, its
    own keyword options, and `rngs`; also `max_length`, the longest sequence, and `context`, how many learned vectors
    stand in front of it (`config.model.context`), if it asks for them by these names. One with `bidirectional=True` has
    no step mode.
    """

    traits: ClassVar[Traits]

    #: Width h of what it maps.
    d_model: int

    #: True where an output depends on earlier inputs only, so that step mode exists.
    causal: bool

    def __init_subclass__(cls, **options: Any) -> None:
        """Has every way of running a mixer refuse inputs that do not fit, in one sentence, and empties the padding."""
        super().__init_subclass__(**options)
        for name in AXES.keys() & vars(cls).keys():
            run = vars(cls)[name]
            setattr(cls, name, _checked(_without_padding(run) if name == "__call__" else run))
        make = vars(cls).get("__init__")
        if make is not None and "d_model" in inspect.signature(make).parameters:
            cls.__init__ = _noting_the_width(make)

    @abc.abstractmethod
    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, key: jax.Array | None = None) -> jax.Array:
        """Mixes whole sequences.

        Args:
            x: inputs (b, l, h), float.
            mask: (b, l) bool, True at true positions, padding on the right; None: every position is true.
                With a mask, what stands at padded positions never reaches a true position. A subclass finds zeros
                there; what it makes of them has to stay there.
            key: random key for dropout inside the mixer; None turns it off.

        Returns:
            (b, l, h) in the type of x, around states that are float32 or better; the values at padded positions mean
            nothing.
        """

    def initial_state(self, batch: int) -> Any:
        """The state before the first step: a pytree of arrays with leading axis `batch`."""
        raise TypeError(f"{type(self).__name__} has no step mode: it is not causal")

    @_checked
    def step(self, x_t: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """One step: x_t (b, h) and the state give y_t (b, h) and the next state."""
        raise TypeError(f"{type(self).__name__} has no step mode: it is not causal")

    @_checked
    def extend(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """Goes on with a sequence by a chunk: x (b, k, h) and the state give (b, k, h) and the next state.

        A sequence in chunks gives what it gives in one pass. Here step by step; a mixer that can do a chunk in parallel
        says so by a method of its own.
        """

        def step(state: Any, x_t: jax.Array) -> tuple[Any, jax.Array]:
            y_t, state = self.step(x_t, state)
            return state, y_t

        state, y = jax.lax.scan(step, state, jnp.moveaxis(x, 1, 0))
        return jnp.moveaxis(y, 0, 1), state

    @property
    @abc.abstractmethod
    def state_size(self) -> int | None:
        """Real numbers carried along each sequence, in both directions together; None where it grows with the length.

        None also where nothing is carried, as in attention that sees the whole sequence.
        """


class WholeMixer(Mixer):
    """A mixer that is never causal: every output depends on every input, and there is no step mode."""

    causal = False

    @property
    def state_size(self) -> None:
        """None: nothing is carried from step to step."""
        return None
