"""How the kernels of recurrences walk along time, and complex numbers as parts, for a kernel has real ones only."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.kernels.gpu import call

# Steps whose inputs are loaded together: memory is far away, so many loads must be under way.
CHUNK = 16

# Channels of one program, one warp wide.
_WIDTH = 32

#: A real number as [x], or a complex one as its real and its imaginary part.
Parts = list[jax.Array]


def width_of(channels: int) -> int:
    """Channels of one program: a power of two that divides them all."""
    return min(_WIDTH, channels & -channels)


def segments_of(wanted: int, programs: int, length: int) -> int:
    """Segments of time that make `wanted` programs of fewer: about a power of two, with two chunks in each at least."""
    segments = max(1, min(-(-wanted // programs), length // (2 * CHUNK)))
    # Whole chunks may fill fewer, and none may be empty.
    return -(-length // steps_of(length, 1 << segments.bit_length() - 1))


def steps_of(length: int, segments: int) -> int:
    """Steps of each segment, whole chunks, but of the last, which takes what is left."""
    return -(-length // (segments * CHUNK)) * CHUNK


class Walk:
    """The way of a program along its segment of time, with some channels of one row of a batch.

    Axis 0 of the grid counts the segments of all rows, or with `but_last` all but the last of each: programs that only
    find where later ones begin. Axis 1 counts blocks of channels.
    """

    #: The place of a program along an axis of the grid.
    program_id = staticmethod(pl.program_id)

    def __init__(
        self, length: int, segments: int, width: int, *, reverse: bool | jax.Array = False, but_last: bool = False
    ):
        walking = segments - but_last
        self.row, self.segment = self.program_id(0) // walking, self.program_id(0) % walking
        self.first, self.width = self.program_id(1) * width, width
        self.channels = pl.ds(self.first, width)
        each = steps_of(length, segments)
        self._length, self._segments = length, segments
        full = but_last or segments * each == length
        self._steps = each if full else jnp.minimum(each, length - self.segment * each)
        # What divides this divides the steps of every segment.
        self._whole = each if full else math.gcd(each, length)
        #: From one step to the next.
        self.sign = 1 - 2 * reverse
        self._start = reverse * (length - 1) + self.sign * self.segment * each

    def run(
        self, load: Callable[[Any], Any], take: Callable[[Any, Any, Any], Any], carry: Any, *, ahead: int = 0
    ) -> Any:
        """Goes along: at each time t, `take(t, load(t), carry)` gives the next `carry`.

        The loads of a chunk of CHUNK steps are under way together, and then all are taken. With `ahead`, a number of
        steps, chunks are so long, and the loads of one are under way while the one before it is taken: that costs
        registers for both, and up to three times as long to compile.
        """
        chunk = ahead or CHUNK

        def times(i):
            return [self._start + self.sign * (i * chunk + k) for k in range(chunk)]

        def takes(i, loaded, carry):
            for t, known in zip(times(i), loaded, strict=True):
                carry = take(t, known, carry)
            return carry

        chunks = self._steps // chunk
        if ahead:

            def loads(i):
                # There may be no such chunk; what is read then is not taken.
                return [load(self.inside(t)[0]) for t in times(i)]

            def chunk_ahead(i, both):
                carry, loaded = both
                later = loads(i + 1)
                return takes(i, loaded, carry), later

            carry, _ = lax.fori_loop(0, chunks, chunk_ahead, (carry, loads(0)))
        else:
            carry = lax.fori_loop(0, chunks, lambda i, carry: takes(i, [load(t) for t in times(i)], carry), carry)
        if self._whole % chunk == 0:
            return carry

        def step(i, carry):
            t = self._start + self.sign * i
            return take(t, load(t), carry)

        return lax.fori_loop(chunks * chunk, self._steps, step, carry)

    def load(self, refs: Parts, *index: Any) -> Parts:
        """This program's channels of arrays (b, ..., d), in float32."""
        return [ref[(self.row, *index, self.channels)].astype(jnp.float32) for ref in refs]

    def store(self, refs: Parts, x: Parts, *index: Any) -> None:
        """Writes there, in the types of the arrays."""
        for ref, part in zip(refs, x, strict=True):
            ref[(self.row, *index, self.channels)] = part.astype(ref.dtype)

    def inside(self, t: Any) -> tuple[Any, Any]:
        """A time that exists, t itself where that does; and whether it does."""
        return jnp.clip(t, 0, self._length - 1), (t >= 0) & (t < self._length)

    def begin(self, state: Any, load: Callable[[Any], Any], cross: Callable[[Any, Any], Any]) -> Any:
        """The state before this segment, from the one before them all.

        Args:
            state: before the first segment.
            load: what has to be known of a segment.
            cross: takes that and the state before the segment, gives the state after it.
        """
        count = self._segments - 1
        if not count:
            return state
        together = min(CHUNK, count)

        def some(j, state):
            segments = [j * together + k for k in range(together)]
            loaded = [load(jnp.minimum(i, count - 1)) for i in segments]
            for i, known in zip(segments, loaded, strict=True):
                state = jax.tree.map(partial(jnp.where, i < self.segment), cross(known, state), state)
            return state

        return lax.fori_loop(0, -(-count // together), some, state)


def passes(size: tuple[int, int, int], segments: int, *, reverse: bool, interpret: bool) -> Callable[..., Any]:
    """`run(kernel, shapes, *arrays)`, which runs `kernel(walk, *references)` on arrays of some size (b, l, d).

    `shapes` are those of the outputs. With `but_last` no program walks along the last segment of a row.
    """
    rows, length, channels = size
    width = width_of(channels)

    def run(kernel: Callable[..., None], shapes: Any, *arrays: Any, but_last: bool = False) -> Any:
        def walking(*references):
            kernel(Walk(length, segments, width, reverse=reverse, but_last=but_last), *references)

        return call(walking, (rows * (segments - but_last), channels // width), shapes, interpret=interpret)(*arrays)

    return run


def to_parts(x: jax.Array) -> Parts:
    """The parts of a real or complex array."""
    return [jnp.real(x), jnp.imag(x)] if jnp.iscomplexobj(x) else [x]


def from_parts(parts: Parts) -> jax.Array:
    """The real or complex array with these parts."""
    return lax.complex(*parts) if len(parts) == 2 else parts[0]


def add(x: Parts, y: Parts) -> Parts:
    """x + y."""
    return [p + q for p, q in zip(x, y, strict=True)]


def multiply(x: Parts, y: Parts) -> Parts:
    """x y."""
    if len(x) == 1:
        return [x[0] * y[0]]
    return [x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]]
