"""The states of a diagonal system, in one or both directions, as a kernel for NVIDIA GPUs.

Complex numbers are pairs of real ones from matrix product to matrix product, so that nothing is taken apart or put
together in between, and each state is written once. `diagonal_ssm` computes the same everywhere without it.
"""

from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from ssm_bench.ops.gpu import call
from ssm_bench.ops.walk import Parts, Walk, add, multiply, segments_of, steps_of, width_of

# Programs that fill a GPU. Where batch, directions and states make fewer, time is cut into segments; an adjoint has as
# many for each direction, one after the other, since its programs load three times as much.
_PROGRAMS = 2048


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
    return _states(v, jnp.real(log_a), jnp.imag(log_a), directions, interpret)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _states(v: jax.Array, rate: jax.Array, angle: jax.Array, directions: int, interpret: bool) -> jax.Array:
    return _solve(v, rate, angle, directions, interpret)


def _forward(v, rate, angle, directions, interpret):
    x = _solve(v, rate, angle, directions, interpret)
    return x, (x, rate, angle)


def _backward(directions, interpret, residuals, dx):
    """The adjoint g_t = conj(a) g_{t+1} + dx_t of each direction runs the other way.

    dv is the sum of g over directions, da that of g conj(x) over everything.
    """
    x, rate, angle = residuals
    dv, da = _solve(dx, rate, -angle, directions, interpret, states=x)
    by_real, by_imag = (sum(part.sum(0) for part in parts) for parts in zip(*da, strict=True))
    real, imag = _exponential(rate, angle)
    return dv, real * by_real + imag * by_imag, real * by_imag - imag * by_real


_states.defvjp(_forward, _backward)


def _exponential(rate: jax.Array, angle: jax.Array) -> Parts:
    modulus = jnp.exp(rate)
    return [modulus * jnp.cos(angle), modulus * jnp.sin(angle)]


def _solve(inputs, rate, angle, directions, interpret, states=None) -> Any:
    """All states; or with `states` the adjoint ones summed over directions, and per direction both parts of da."""
    (b, l, _), p = inputs.shape, len(rate)
    width = width_of(p)
    segments = segments_of(_PROGRAMS, b * directions * (p // width), l)
    a = jnp.concatenate(_exponential(rate, angle))

    def run(kernel, each, shapes, *arrays, only=None):
        walk = partial(_Walk, p, l, segments, width, adjoint=states is not None, only=only)
        grid = (b * each, p // width, directions if only is None else 1)
        return call(partial(kernel, walk=walk), grid, shapes, interpret=interpret)(*arrays)

    carry = []
    if segments > 1:
        # Per segment the state that it ends in by itself, from which a segment after it finds where it begins.
        ends = run(_ends_kernel, segments - 1, [(b, segments - 1, directions * 2 * p)], inputs, a)[0]
        steps = steps_of(l, segments)
        carry = [ends, jnp.concatenate(_exponential(steps * rate, steps * angle))]
    if states is None:
        out = jax.ShapeDtypeStruct((b, l, directions * 2 * p), inputs.dtype)
        return run(_states_kernel, segments, [out], inputs, a, carry)[0]
    # One direction after the other, each adding to the gradient so far: the directions end at opposite ends of time.
    out, sums = jax.ShapeDtypeStruct((b, l, 2 * p), inputs.dtype), (b * segments, p)
    gradient, da = [], []
    for only in range(directions):
        *gradient, real, imag = run(
            _adjoint_kernel, segments, [out, sums, sums], inputs, a, states, carry, gradient, only=only
        )
        da.append((real, imag))
    return gradient[0], da


class _Walk(Walk):
    """The walk of a program along one direction, with both parts of its states."""

    def __init__(self, states, length, segments, width, *, adjoint, only=None, but_last=False):
        self.direction = pl.program_id(2) if only is None else only
        self.states, self.adjoint = states, adjoint
        # The adjoint of a direction runs against it.
        from_end = 1 - self.direction if adjoint else self.direction
        super().__init__(length, segments, width, reverse=from_end, but_last=but_last)

    def parts(self, direction: Any = 0) -> list[Any]:
        """Where both parts stand, in an array for one direction or in that of its own."""
        first = self.first + direction * 2 * self.states
        return [pl.ds(first + part * self.states, self.width) for part in (0, 1)]

    def inputs(self, ref: Any, t: Any) -> Parts:
        """What comes in at a step: to both directions the same, but each has gradients of its own."""
        return self.read(ref, t, self.direction if self.adjoint else 0)

    def read(self, ref: Any, t: Any, direction: Any) -> Parts:
        """Both parts of the program's channels, in an array of one direction or of all (b, l, d)."""
        return [ref[self.row, t, part].astype(jnp.float32) for part in self.parts(direction)]

    def write(self, ref: Any, x: Parts, t: Any, direction: Any) -> None:
        """Writes them there."""
        for part, value in zip(self.parts(direction), x, strict=True):
            ref[self.row, t, part] = value.astype(ref.dtype)

    def zero(self) -> Parts:
        """The state before the first step."""
        return [jnp.zeros(self.width, jnp.float32)] * 2


def _begin(walk, carry):
    """The state before a program's segment."""
    if not carry:
        return walk.zero()
    ends, power = carry[0], [carry[1][part] for part in walk.parts()]
    known = lambda segment: walk.read(ends, segment, walk.direction)  # noqa: E731
    return walk.begin(walk.zero(), known, lambda end, x: add(multiply(power, x), end))


def _ends_kernel(inputs, a, ends, *, walk):
    walk = walk(but_last=True)
    decay = [a[part] for part in walk.parts()]
    x = walk.run(partial(walk.inputs, inputs), lambda t, v, x: add(multiply(decay, x), v), walk.zero())
    walk.write(ends, x, walk.segment, walk.direction)


def _states_kernel(inputs, a, carry, states, *, walk):
    walk = walk()
    decay = [a[part] for part in walk.parts()]

    def take(t, v, x):
        x = add(multiply(decay, x), v)
        walk.write(states, x, t, walk.direction)
        return x

    walk.run(partial(walk.inputs, inputs), take, _begin(walk, carry))


def _adjoint_kernel(inputs, a, states, carry, so_far, gradient, real_sums, imag_sums, *, walk):
    walk = walk()
    decay = [a[part] for part in walk.parts()]

    def load(t):
        """The gradient, the state that the step started from (zero past the last on this walk), what to add to."""
        before, inside = walk.inside(t + walk.sign)
        x = [jnp.where(inside, part, 0) for part in walk.read(states, before, walk.direction)]
        return walk.inputs(inputs, t), x, [walk.read(ref, t, 0) for ref in so_far]

    def take(t, loaded, carried):
        (dx, x, others), (g, real_sum, imag_sum) = loaded, carried
        g = add(multiply(decay, g), dx)
        walk.write(gradient, reduce(add, others, g), t, 0)
        real_sum = real_sum + g[0] * x[0] + g[1] * x[1]
        return g, real_sum, imag_sum + g[1] * x[0] - g[0] * x[1]

    _, *sums = walk.run(load, take, (_begin(walk, carry), *walk.zero()))
    for ref, value in zip((real_sums, imag_sums), sums, strict=True):
        ref[pl.program_id(0), walk.channels] = value
