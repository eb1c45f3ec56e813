"""The states of a diagonal system, in one or both directions, as a kernel for NVIDIA GPUs.

Complex numbers are pairs of real ones from matrix product to matrix product, so that nothing is taken apart or put
together in between, and each state is written once. `diagonal_ssm` computes the same everywhere without it.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.gpu import call

# Steps whose inputs are loaded together: memory is far away, so many loads must be under way.
_CHUNK = 16

# States of one program, one warp wide.
_WIDTH = 32

# Programs that fill a GPU. Where batch, directions and states make fewer, time is cut into segments.
_PROGRAMS = 2048

Pair = tuple[jax.Array, jax.Array]


def fused_states(v: jax.Array, log_a: jax.Array, directions: int, *, interpret: bool = False) -> jax.Array:
    """x_t = a x_{t-1} + v_t from a zero state; with two directions x_t = a x_{t+1} + v_t as well.

    Args:
        v: inputs (b, l, 2 p), p real parts and then p imaginary ones; float32 or bfloat16.
        log_a: logarithm of a (p,), complex64.
        directions: 1 or 2.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        States (b, l, 2 p directions) in the type of v: real and imaginary parts from the start, then those from the
        end. The recurrence runs in float32.

    Differentiable in reverse mode.
    """
    fill = -v.shape[1] % _CHUNK
    if not fill:
        return _states(v, jnp.real(log_a), jnp.imag(log_a), directions, interpret)
    # Zeros after the end change no state before it, and the direction from the end passes them at zero.
    filled = jnp.pad(v, ((0, 0), (0, fill), (0, 0)))
    return fused_states(filled, log_a, directions, interpret=interpret)[:, : v.shape[1]]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _states(v: jax.Array, rate: jax.Array, angle: jax.Array, directions: int, interpret: bool) -> jax.Array:
    return _solve(v, rate, angle, directions, interpret)[0]


def _forward(v, rate, angle, directions, interpret):
    x = _solve(v, rate, angle, directions, interpret)[0]
    return x, (x, rate, angle)


def _backward(directions, interpret, residuals, dx):
    """The adjoint g_t = conj(a) g_{t+1} + dx_t of each direction runs the other way; dv = g, da = sum of g conj(x)."""
    x, rate, angle = residuals
    g, *da = _solve(dx, rate, -angle, directions, interpret, states=x)
    b, l, p = *x.shape[:2], len(rate)
    dv = g.reshape(b, l, directions, 2 * p).astype(jnp.float32).sum(2).astype(x.dtype)
    by_real, by_imag = (part.sum((0, 1)) for part in da)
    real, imag = _exponential(rate, angle)
    return dv, real * by_real + imag * by_imag, real * by_imag - imag * by_real


_states.defvjp(_forward, _backward)


def _exponential(rate: jax.Array, angle: jax.Array) -> Pair:
    modulus = jnp.exp(rate)
    return modulus * jnp.cos(angle), modulus * jnp.sin(angle)


def _solve(inputs, rate, angle, directions, interpret, states=None):
    """All states; or with `states` all adjoint ones, and per program the two parts of its sum for da."""
    (b, l, _), p = inputs.shape, len(rate)
    width = min(_WIDTH, p & -p)
    blocks = p // width
    segments = _segments(b * directions * blocks, l // _CHUNK)
    steps = l // segments
    a = jnp.concatenate(_exponential(rate, angle))
    run = partial(
        _run,
        grid=(b * segments, directions, blocks),
        interpret=interpret,
        segments=segments,
        width=width,
        adjoint=states is not None,
    )
    carry = []
    if segments > 1:
        # Per segment the state that it ends in by itself, from which a segment after it finds where it begins.
        ends = run(_ends_kernel, [(b, segments, directions * 2 * p)], inputs, a)[0]
        carry = [ends, jnp.concatenate(_exponential(steps * rate, steps * angle))]
    out = jax.ShapeDtypeStruct((b, l, directions * 2 * p), inputs.dtype)
    if states is None:
        return run(_states_kernel, [out], inputs, a, *carry)
    return run(_adjoint_kernel, [out, *[(b * segments, directions, p)] * 2], inputs, a, states, *carry)


def _segments(programs: int, chunks: int) -> int:
    """Segments of time: a power of two that divides the chunks, two for each at least."""
    wanted = max(1, min(-(-_PROGRAMS // programs), chunks // 2))
    return min(1 << wanted.bit_length() - 1, chunks & -chunks)


def _run(kernel, shapes, *arrays, grid, interpret, **sizes):
    return call(partial(kernel, **sizes), grid, shapes, interpret=interpret)(*arrays)


class _Place:
    """Where a program stands: its row, its segment of time, its direction and its states."""

    def __init__(self, states, length, segments, width, adjoint):
        self.row, self.segment = pl.program_id(0) // segments, pl.program_id(0) % segments
        self.direction = pl.program_id(1)
        self.first = pl.program_id(2) * width
        self.states, self.width = states, width
        self.steps = length // segments
        # The adjoint of a direction runs against it.
        from_end = 1 - self.direction if adjoint else self.direction
        self.sign = 1 - 2 * from_end
        self.start = from_end * (length - 1) + self.sign * self.segment * self.steps

    def times(self, chunk):
        return [self.start + self.sign * (chunk * _CHUNK + k) for k in range(_CHUNK)]

    def pair(self, ref, *index, direction=None) -> Pair:
        """Both parts of this program's states in `ref`; of arrays that hold directions, those of its own."""
        offset = self.first + (0 if direction is None else direction * 2 * self.states)
        parts = (ref[(*index, pl.ds(offset + part * self.states, self.width))] for part in (0, 1))
        real, imag = (part.astype(jnp.float32) for part in parts)
        return real, imag

    def store(self, ref, pair: Pair, *index):
        for part, value in enumerate(pair):
            offset = self.first + (2 * self.direction + part) * self.states
            ref[(*index, pl.ds(offset, self.width))] = value.astype(ref.dtype)

    def begin(self, carry) -> Pair:
        """The state before this program's segment."""
        zero = jnp.zeros(self.width, jnp.float32)
        if not carry:
            return zero, zero
        ends, power = carry[0], self.pair(carry[1])

        def step(i, h):
            end = self.pair(ends, self.row, i, direction=self.direction)
            real, imag = _step(power, h, end)
            return jnp.where(i < self.segment, real, h[0]), jnp.where(i < self.segment, imag, h[1])

        real, imag = lax.fori_loop(0, ends.shape[1], step, (zero, zero))
        return real, imag


def _step(a: Pair, h: Pair, v: Pair) -> Pair:
    return a[0] * h[0] - a[1] * h[1] + v[0], a[0] * h[1] + a[1] * h[0] + v[1]


def _ends_kernel(inputs, a, ends, *, segments, width, adjoint):
    place = _Place(a.shape[0] // 2, inputs.shape[1], segments, width, adjoint)
    decay, direction = place.pair(a), place.direction if adjoint else None

    def chunk(i, h):
        # All loads first, so that they are under way together.
        for v in [place.pair(inputs, place.row, t, direction=direction) for t in place.times(i)]:
            h = _step(decay, h, v)
        return h

    h = lax.fori_loop(0, place.steps // _CHUNK, chunk, place.begin(()))
    place.store(ends, h, place.row, place.segment)


def _states_kernel(inputs, a, *others, segments, width, adjoint):
    *carry, x = others
    place = _Place(a.shape[0] // 2, inputs.shape[1], segments, width, adjoint)
    decay = place.pair(a)

    def chunk(i, h):
        times = place.times(i)
        for t, v in zip(times, [place.pair(inputs, place.row, t) for t in times], strict=True):
            h = _step(decay, h, v)
            place.store(x, h, place.row, t)
        return h

    lax.fori_loop(0, place.steps // _CHUNK, chunk, place.begin(carry))


def _adjoint_kernel(inputs, a, states, *others, segments, width, adjoint):
    *carry, gradient, real_sums, imag_sums = others
    length = inputs.shape[1]
    place = _Place(a.shape[0] // 2, length, segments, width, adjoint)
    decay, direction = place.pair(a), place.direction

    def before(t):
        """The state that the step t started from: the one that this walk comes to next, zero past the last."""
        t = t + place.sign
        inside = ((t >= 0) & (t < length)).astype(jnp.float32)
        x = place.pair(states, place.row, jnp.clip(t, 0, length - 1), direction=direction)
        return inside * x[0], inside * x[1]

    def chunk(i, carried):
        g, real_sum, imag_sum = carried
        times = place.times(i)
        loaded = [(t, place.pair(inputs, place.row, t, direction=direction), before(t)) for t in times]
        for t, dx, x in loaded:
            g = _step(decay, g, dx)
            place.store(gradient, g, place.row, t)
            real_sum = real_sum + g[0] * x[0] + g[1] * x[1]
            imag_sum = imag_sum + g[1] * x[0] - g[0] * x[1]
        return g, real_sum, imag_sum

    zero = jnp.zeros(width, jnp.float32)
    _, *sums = lax.fori_loop(0, place.steps // _CHUNK, chunk, (place.begin(carry), zero, zero))
    for ref, value in zip((real_sums, imag_sums), sums, strict=True):
        ref[pl.program_id(0), direction, pl.ds(place.first, width)] = value
