"""Layers around a recurrence with a matrix memory per head: projections, short convolution, norm, gate and output."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import Linear, RMSNorm, ShortConv, expanded, side_by_side
from ssm_bench.ops.precision import widened


class Sizes(NamedTuple):
    """Numbers of channels: of all heads together, of which each head has an equal share.

    Attributes:
        width: of inputs and outputs.
        heads: number of heads.
        keys: of queries, and of keys.
        values: of values.
    """

    width: int
    heads: int
    keys: int
    values: int


def memory_sizes(d_model: int, heads: int, expand_k: float, expand_v: float) -> Sizes:
    """Sizes from factors of the width.

    Raises:
        ArgumentError: factors that leave no channel, or heads that do not divide the channels.
    """
    keys, values = expanded(d_model, expand_k, "expand_k"), expanded(d_model, expand_v, "expand_v")
    if heads < 1 or keys % heads or values % heads:
        raise ArgumentError("heads", f"must divide the widths {keys} of keys and {values} of values; got {heads}")
    return Sizes(d_model, heads, keys, values)


class MemoryCell(nnx.Module, abc.ABC):
    """y_t = W_o (norm(o_t) * act(W_g x_t)), where o_t is what the memories of all heads give for the query of x_t.

    Queries, keys and values are linear in x_t, or, with `taps`, SiLUs of short convolutions of linear maps. A subclass
    says what the memory does (`recur`).
    """

    def __init__(
        self,
        sizes: Sizes,
        *,
        taps: int | None = None,
        gate: Callable[[Array], Array] | None = None,
        norm: nnx.Module | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the layer.

        Args:
            sizes: numbers of channels.
            taps: taps of the short convolutions; None: none, and no SiLU.
            gate: activation of the output gate; None: no gate.
            norm: of the last axis of (b, l, heads, values / heads); None: an RMS norm of each head, one scale for all.
            rngs: random keys.

        Raises:
            ArgumentError: no tap, or too many.
        """
        self.sizes = sizes
        width, heads, keys, values = sizes
        self.query = Linear(width, keys, bias=False, rngs=rngs)
        self.keys = Linear(width, keys, bias=False, rngs=rngs)
        self.values = Linear(width, values, bias=False, rngs=rngs)
        self.conv = ShortConv(2 * keys + values, taps, bias=False, rngs=rngs) if taps is not None else None
        self.gate = Linear(width, values, bias=False, rngs=rngs) if gate else None
        self.activation = gate
        self.norm = norm or RMSNorm(values // heads, epsilon=1e-5)
        self.out = Linear(values, width, bias=False, rngs=rngs)

    @abc.abstractmethod
    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: Any,
    ) -> tuple[Float[Array, "b l heads d"], Any]:
        """The recurrence.

        Args:
            x: inputs of the layer (b, l, h), from which gates and decays are computed.
            q: queries (b, l, heads, m).
            k: keys (b, l, heads, m).
            v: values (b, l, heads, d).
            memory: the state before the first position.

        Returns:
            o (b, l, heads, d) and the state after the last position.
        """

    def initial_memory(self, batch: int) -> Any:
        """Zeros (b, heads, m, d)."""
        _, heads, keys, values = self.sizes
        return jnp.zeros((batch, heads, keys // heads, values // heads), self.out.kernel[...].dtype)

    @property
    def memory_size(self) -> int:
        """Real numbers of the memories of all heads."""
        _, heads, keys, values = self.sizes
        return keys * values // heads

    def initial_state(self, batch: int) -> dict[str, Any]:
        """The memory, and the inputs that the convolutions still need."""
        taps = {} if self.conv is None else {"taps": self.conv.initial_state(batch)}
        return {"memory": self.initial_memory(batch), **taps}

    def extend(self, x: Float[Array, "b k h"], state: dict[str, Any]) -> tuple[Float[Array, "b k h"], dict[str, Any]]:
        """A chunk (b, k, h) and the state before it."""
        after = {}
        q, k, v = side_by_side(x, self.query, self.keys, self.values)
        if self.conv is not None:
            # In float32: short keys are divided by their length, which magnifies rounding.
            u, after["taps"] = self.conv.extend(widened(jnp.concatenate([q, k, v], -1)), state["taps"])
            q, k, v = jnp.split(jax.nn.silu(u), [self.sizes.keys, 2 * self.sizes.keys], -1)
        q, k, v = (t.reshape(*t.shape[:2], self.sizes.heads, -1) for t in (q, k, v))
        y, after["memory"] = self.recur(x, q, k, v, state["memory"])
        y = self.norm(y).reshape(*x.shape[:2], -1)
        if self.gate is not None and self.activation is not None:
            y = y * self.activation(self.gate(x))
        return self.out(y.astype(x.dtype)), after

    @property
    def state_size(self) -> int:
        """Real numbers of the memories of all heads and of the convolutions."""
        return self.memory_size + (0 if self.conv is None else self.conv.state_size)
