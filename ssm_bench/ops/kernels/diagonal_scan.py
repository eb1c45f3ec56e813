"""The states of a diagonal system, in one or both directions, as a kernel for NVIDIA GPUs.

Complex numbers are pairs of real ones from matrix product to matrix product, so that nothing is taken apart or put
together in between, and each state is written once. `diagonal_ssm` computes the same everywhere without it.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from ssm_bench.ops.kernels.gpu import call
from ssm_bench.ops.kernels.walk import Parts, Walk, add, multiply, segments_of, steps_of, width_of

# Programs that fill a GPU. Where batch, directions and states make fewer, time is cut into segments; an adjoint has as
# many for each direction, one after the other, since its programs load three times as much.
PROGRAMS = 2048


class Solver(NamedTuple):
    """The kernels of one route to the GPU.

    Attributes:
        states: (v, rate, angle, directions) to the states, where log a = rate + i angle.
        adjoint: (dx, x, rate, -angle, directions), with the gradient dx of the states x, to the adjoint states summed
            over directions and both parts of the sum for da.
    """

    states: Callable[..., jax.Array]
    adjoint: Callable[..., tuple[jax.Array, Parts]]


def fused_states(
    v: jax.Array, log_a: jax.Array, directions: int, *, interpret: bool = False, solver: Solver | None = None
) -> jax.Array:
    """x_t = a x_{t-1} + v_t from a zero state; with two directions x_t = a x_{t+1} + v_t as well.

    Args:
        v: inputs (b, l, 2 p), p real parts and then p imaginary ones; float32 or bfloat16.
        log_a: logarithm of a (p,), complex64.
        directions: 1 or 2.
        interpret: run without a GPU, slowly, for tests.
        solver: the kernels; by default those of this module.

    Returns:
        States (b, l, 2 p directions) in the type of v: real and imaginary parts from the start, then those from the
        end. The recurrence runs in float32.

    Differentiable in reverse mode.
    """
    solver = solver or pallas_solver(partial(call, interpret=interpret))
    return _states(v, jnp.real(log_a), jnp.imag(log_a), directions, solver)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _states(v: jax.Array, rate: jax.Array, angle: jax.Array, directions: int, solver: Solver) -> jax.Array:
    return solver.states(v, rate, angle, directions)


def _forward(v, rate, angle, directions, solver):
    x = solver.states(v, rate, angle, directions)
    return x, (x, rate, angle)


def _backward(directions, solver, residuals, dx):
    """The adjoint g_t = conj(a) g_{t+1} + dx_t of each direction runs the other way.

    dv is the sum of g over directions, da that of g conj(x) over everything.
    """
    x, rate, angle = residuals
    dv, (by_real, by_imag) = solver.adjoint(dx, x, rate, -angle, directions)
    real, imag = exponential(rate, angle)
    return dv, real * by_real + imag * by_imag, real * by_imag - imag * by_real


_states.defvjp(_forward, _backward)


def exponential(rate: jax.Array, angle: jax.Array) -> Parts:
    """e^(rate + i angle)."""
    modulus = jnp.exp(rate)
    return [modulus * jnp.cos(angle), modulus * jnp.sin(angle)]


def _solve(prepare, v, rate, angle, directions) -> jax.Array:
    """The states of all directions."""
    run, _, *known = prepare(v, rate, angle, directions)
    out = jax.ShapeDtypeStruct((*v.shape[:2], directions * v.shape[2]), v.dtype)
    return run(_states_kernel, [out], v, *known)[0]


def _solve_adjoint(prepare, dx, x, rate, angle, directions) -> tuple[jax.Array, Parts]:
    """The adjoint states summed over directions, and both parts of the sum for da."""
    run, programs, *known = prepare(dx, rate, angle, directions, adjoint=True)
    out, sums = jax.ShapeDtypeStruct((*dx.shape[:2], dx.shape[2] // directions), dx.dtype), (programs, len(rate))
    # One direction after the other, each adding to the gradient so far: the directions end at opposite ends of time.
    gradient, da = [], []
    for direction in range(directions):
        total, *parts = run(_adjoint_kernel, [out, sums, sums], dx, *known, x, gradient, direction=direction)
        gradient = [total]
        da.append([part.sum(0) for part in parts])
    return gradient[0], reduce(add, da)


def _prepare(inputs, rate, angle, directions, *, call, width_of, walk, adjoint=False):
    """What solving begins with: `run(kernel, shapes, *arrays)`, its programs for a channel, a, and `carry`.

    `run` walks along all directions, or the given one. `carry` marks where a segment begins, nothing
    where there is one.
    """
    (b, l, _), p = inputs.shape, len(rate)
    width = width_of(p)
    segments = segments_of(PROGRAMS, b * directions * (p // width), l)
    a = jnp.concatenate(exponential(rate, angle))

    def run(kernel, shapes, *arrays, each=segments, direction=None):
        walking = partial(walk, p, l, segments, width, adjoint=adjoint, direction=direction)
        grid = (b * each, p // width, directions if direction is None else 1)
        return call(partial(kernel, walk=walking), grid, shapes)(*arrays)

    carry = []
    if segments > 1:
        # Per segment the state that it ends in by itself, from which a segment after it finds where it begins.
        ends = run(_ends_kernel, [(b, segments - 1, directions * 2 * p)], inputs, a, each=segments - 1)[0]
        steps = steps_of(l, segments)
        carry = [ends, jnp.concatenate(exponential(steps * rate, steps * angle))]
    return run, b * segments, a, carry


class StatesWalk(Walk):
    """The walk of a program along one direction, with both parts of its states."""

    def __init__(self, states, length, segments, width, *, adjoint, direction=None, but_last=False):
        self.direction = self.program_id(2) if direction is None else direction
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
        return self.read(ref, t, None if self.adjoint else 0)

    def read(self, ref: Any, t: Any, direction: int | None = None) -> Parts:
        """Both parts of the program's channels in an array (b, l, d): of its own direction, or of the given one."""
        parts = self.parts(self.direction if direction is None else direction)
        return [ref[self.row, t, part].astype(jnp.float32) for part in parts]

    def write(self, ref: Any, x: Parts, t: Any, direction: int | None = None) -> None:
        """Writes them there."""
        for part, value in zip(self.parts(self.direction if direction is None else direction), x, strict=True):
            ref[self.row, t, part] = value.astype(ref.dtype)

    def zero(self) -> Parts:
        """The state before the first step."""
        return [jnp.zeros(self.width, jnp.float32)] * 2


def pallas_solver(
    call: Callable[..., Any], width_of: Callable[[int], int] = width_of, walk: type[StatesWalk] = StatesWalk
) -> Solver:
    """The kernels of this module.

    Args:
        call: see `gpu.call`; takes a kernel, its grid and the shapes of its outputs.
        width_of: states of one program, from the number of states.
        walk: the way of a program through time.
    """
    run = partial(_prepare, call=call, width_of=width_of, walk=walk)
    return Solver(partial(_solve, run), partial(_solve_adjoint, run))


def _begin(walk, carry):
    """The state before a program's segment."""
    if not carry:
        return walk.zero()
    ends, power = carry[0], [carry[1][part] for part in walk.parts()]
    return walk.begin(walk.zero(), partial(walk.read, ends), lambda end, x: add(multiply(power, x), end))


def _ends_kernel(inputs, a, ends, *, walk):
    walk = walk(but_last=True)
    decay = [a[part] for part in walk.parts()]
    x = walk.run(partial(walk.inputs, inputs), lambda t, v, x: add(multiply(decay, x), v), walk.zero())
    walk.write(ends, x, walk.segment)


def _states_kernel(inputs, a, carry, states, *, walk):
    walk = walk()
    decay = [a[part] for part in walk.parts()]

    def take(t, v, x):
        x = add(multiply(decay, x), v)
        walk.write(states, x, t)
        return x

    walk.run(partial(walk.inputs, inputs), take, _begin(walk, carry))


def _adjoint_kernel(inputs, a, carry, states, so_far, gradient, real_sums, imag_sums, *, walk):
    walk = walk()
    decay = [a[part] for part in walk.parts()]

    def load(t):
        """The gradient, the state that the step started from (zero past the last on this walk), what to add to."""
        before, inside = walk.inside(t + walk.sign)
        x = [jnp.where(inside, part, 0) for part in walk.read(states, before)]
        return walk.inputs(inputs, t), x, [walk.read(ref, t, 0) for ref in so_far]

    def take(t, loaded, carried):
        (dx, x, others), (g, real_sum, imag_sum) = loaded, carried
        g = add(multiply(decay, g), dx)
        walk.write(gradient, reduce(add, others, g), t, 0)
        real_sum = real_sum + g[0] * x[0] + g[1] * x[1]
        return g, real_sum, imag_sum + g[1] * x[0] - g[0] * x[1]

    _, *sums = walk.run(load, take, (_begin(walk, carry), *walk.zero()))
    for ref, value in zip((real_sums, imag_sums), sums, strict=True):
        ref[walk.program_id(0), walk.channels] = value
