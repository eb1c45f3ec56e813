"""The kernels of `diagonal_scan` in Triton itself: a prototype.

They compute the same as those in Pallas. Where those unroll a chunk of time to have many loads under way, these are
plain loops over time that Triton pipelines: the loads of STAGES - 1 steps are under way in shared memory. That is less
text to compile. They need the package triton, which the suite does not depend on, and a GPU from Ampere on.
"""
# pyright: reportMissingImports=false

from functools import reduce

import jax
import jax.numpy as jnp
import triton
import triton.language as tl

from ssm_bench.ops.kernels.diagonal_scan import PROGRAMS, Solver, exponential, fused_states
from ssm_bench.ops.kernels.triton_call import triton_call
from ssm_bench.ops.kernels.walk import Parts, add, segments_of, steps_of

# The loads of one step less than this are under way.
STAGES = 16


def triton_states(v: jax.Array, log_a: jax.Array, directions: int) -> jax.Array:
    """`fused_states` with the kernels of this module."""
    return fused_states(v, log_a, directions, solver=Solver(_solve, _solve_adjoint))


def _solve(v, rate, angle, directions) -> jax.Array:
    """The states of all directions."""
    run, segments, *known = _prepare(v, rate, angle, directions)
    out = jax.ShapeDtypeStruct((*v.shape[:2], directions * v.shape[2]), v.dtype)
    return run(_scan_kernel, segments, directions, out, v, *known, adjoint=False, ends_only=False)


def _solve_adjoint(dx, x, rate, angle, directions) -> tuple[jax.Array, Parts]:
    """The adjoint states summed over directions, and both parts of the sum for da."""
    run, segments, *known = _prepare(dx, rate, angle, directions, adjoint=True)
    out = jax.ShapeDtypeStruct((*dx.shape[:2], dx.shape[2] // directions), dx.dtype)
    sums = jax.ShapeDtypeStruct((len(dx) * segments, len(rate)), jnp.float32)
    # One direction after the other, each adding to the gradient so far; the first reads none.
    gradient, da = dx, []
    for direction in range(directions):
        outputs = (out, sums, sums)
        gradient, *parts = run(_adjoint_kernel, segments, 1, outputs, dx, *known, x, gradient, direction=direction)
        da.append([part.sum(0) for part in parts])
    return gradient, reduce(add, da)


def _prepare(inputs, rate, angle, directions, *, adjoint=False):
    """What solving begins with: a function that runs a kernel, segments of time, a, the segments' ends, and a^steps."""
    (b, l, _), p = inputs.shape, len(rate)
    # Only loads of 4 bytes a thread or more can be under way: two channels in bfloat16.
    width = min(32 * 4 // inputs.dtype.itemsize, p & -p)
    segments = segments_of(PROGRAMS, b * directions * (p // width), l)
    steps = steps_of(l, segments)
    sizes = {"length": l, "states": p, "directions": directions, "steps": steps, "width": width, "stages": STAGES}

    def run(kernel, segments, together, outputs, *arrays, **flags):
        grid = (b * segments, p // width, together)
        return triton_call(kernel, grid, outputs, *arrays, segments=segments, **sizes, **flags)

    a, power = (jnp.concatenate(exponential(n * rate, n * angle)) for n in (1, steps))
    ends = a  # Not read if there is one segment.
    if segments > 1:
        out = jax.ShapeDtypeStruct((b, segments - 1, directions * 2 * p), jnp.float32)
        flags = {"adjoint": adjoint, "ends_only": True}
        ends = run(_scan_kernel, segments - 1, directions, out, inputs, a, ends, power, **flags)
    return run, segments, a, ends, power


@triton.jit
def _multiply(x_real, x_imag, y_real, y_imag):
    return x_real * y_real - x_imag * y_imag, x_real * y_imag + x_imag * y_real


@triton.jit
def _load(pointer, states: tl.constexpr):
    """Both parts of a program's channels in float32."""
    return tl.load(pointer).to(tl.float32), tl.load(pointer + states).to(tl.float32)


@triton.jit
def _store(pointer, states: tl.constexpr, real, imag):
    tl.store(pointer, real.to(pointer.dtype.element_ty))
    tl.store(pointer + states, imag.to(pointer.dtype.element_ty))


@triton.jit
def _walk(length: tl.constexpr, steps: tl.constexpr, segments: tl.constexpr, width: tl.constexpr, reverse):
    """Where a program walks: row, segment, channels, first time, from one time to the next, and number of steps."""
    # An array may have more elements than int32 can count.
    row, segment = (tl.program_id(0) // segments).to(tl.int64), tl.program_id(0) % segments
    channels = tl.program_id(1) * width + tl.arange(0, width)
    sign = 1 - 2 * reverse
    first = reverse * (length - 1) + sign * segment * steps
    return row, segment, channels, first, sign, tl.minimum(steps, length - segment * steps)


@triton.jit
def _begin(
    ends, power, segment, states: tl.constexpr, stride: tl.constexpr, segments: tl.constexpr, width: tl.constexpr,
    stages: tl.constexpr,
):  # fmt: skip
    """The state before a segment, from the states in which those before it end by themselves."""
    real, imag = tl.full((width,), 0, tl.float32), tl.full((width,), 0, tl.float32)
    if segments > 1:
        power_real, power_imag = _load(power, states)
        for i in tl.range(0, segment, num_stages=stages):
            end_real, end_imag = _load(ends + i * stride, states)
            real, imag = _multiply(power_real, power_imag, real, imag)
            real, imag = real + end_real, imag + end_imag
    return real, imag


@triton.jit
def _scan_kernel(
    inputs, a, ends, power, out,
    length: tl.constexpr, states: tl.constexpr, directions: tl.constexpr, steps: tl.constexpr, segments: tl.constexpr,
    width: tl.constexpr, stages: tl.constexpr, adjoint: tl.constexpr, ends_only: tl.constexpr,
):  # fmt: skip
    """The states; or the last one of each segment by itself, and with `adjoint` those of the adjoint."""
    direction = tl.program_id(2)
    # The adjoint of a direction runs against it, and has inputs of its own.
    reverse = 1 - direction if adjoint else direction
    row, segment, channels, first, sign, count = _walk(length, steps, segments, width, reverse)
    own, stride = direction * 2 * states + channels, directions * 2 * states
    source = inputs + row * length * (stride if adjoint else 2 * states) + (own if adjoint else channels)
    a_real, a_imag = _load(a + channels, states)
    before = ends + row * (segments - 1) * stride + own
    real, imag = _begin(before, power + channels, segment, states, stride, 1 if ends_only else segments, width, stages)
    for i in tl.range(0, count, num_stages=stages):
        t = first + sign * i
        v_real, v_imag = _load(source + t * (stride if adjoint else 2 * states), states)
        real, imag = _multiply(a_real, a_imag, real, imag)
        real, imag = real + v_real, imag + v_imag
        if not ends_only:
            _store(out + (row * length + t) * stride + own, states, real, imag)
    if ends_only:
        _store(out + (row * segments + segment) * stride + own, states, real, imag)


@triton.jit
def _adjoint_kernel(
    inputs, a, ends, power, x, so_far, gradient, real_sums, imag_sums,
    length: tl.constexpr, states: tl.constexpr, directions: tl.constexpr, steps: tl.constexpr, segments: tl.constexpr,
    width: tl.constexpr, stages: tl.constexpr, direction: tl.constexpr,
):  # fmt: skip
    """The adjoint of one direction, added to the gradient so far unless it is the first, and the sums for da."""
    row, segment, channels, first, sign, count = _walk(length, steps, segments, width, 1 - direction)
    own, stride = direction * 2 * states + channels, directions * 2 * states
    a_real, a_imag = _load(a + channels, states)
    before = ends + row * (segments - 1) * stride + own
    real, imag = _begin(before, power + channels, segment, states, stride, segments, width, stages)
    real_sum, imag_sum = tl.full((width,), 0, tl.float32), tl.full((width,), 0, tl.float32)
    for i in tl.range(0, count, num_stages=stages):
        t = first + sign * i
        dx_real, dx_imag = _load(inputs + (row * length + t) * stride + own, states)
        # The state that the step started from: that of the next one on this walk, zero past the last.
        inside = (t + sign >= 0) & (t + sign < length)
        x_real, x_imag = _load(x + (row * length + tl.where(inside, t + sign, t)) * stride + own, states)
        x_real, x_imag = tl.where(inside, x_real, 0.0), tl.where(inside, x_imag, 0.0)
        real, imag = _multiply(a_real, a_imag, real, imag)
        real, imag = real + dx_real, imag + dx_imag
        real_sum += real * x_real + imag * x_imag
        imag_sum += imag * x_real - real * x_imag
        total = (row * length + t) * 2 * states + channels
        dv_real, dv_imag = real, imag
        if direction > 0:
            other_real, other_imag = _load(so_far + total, states)
            dv_real, dv_imag = real + other_real, imag + other_imag
        _store(gradient + total, states, dv_real, dv_imag)
    sums = tl.program_id(0) * states + channels
    tl.store(real_sums + sums, real_sum)
    tl.store(imag_sums + sums, imag_sum)
