"""What one program of the kernels of the selective scan does: some channels of one row, along all of time.

A kernel has real numbers only, so complex ones are lists of two parts in it, and real ones lists of one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.gpu import LOG2_E, barrier, exp2, multiply_add, reciprocal, sigmoid
from ssm_bench.ops.walk import Parts


class Inputs(NamedTuple):
    """Of `fused_scan`, or their gradients, or references to them; A, B, C and h0 as lists of parts."""

    u: Any
    delta: Any
    A: Any
    B: Any
    C: Any
    D: Any
    z: Any
    delta_bias: Any
    h0: Any


class Layout(NamedTuple):
    """How the work is shared out.

    Attributes:
        width: channels of one program, a power of two.
        warps: groups of 32 threads that share a program.
        chunk: steps whose states the backward pass holds at once.
        group: chunks between two states that the forward pass keeps.
        segment: groups that one run of the backward kernel goes through.
        ahead: steps that the loads of the backward pass are ahead of their use.
    """

    width: int
    warps: int
    chunk: int
    group: int
    segment: int
    ahead: int


def threads_over_channels(width: int, n: int) -> int:
    """Threads of a warp that share the n states of one time, four each, and belong to different channels."""
    return min(32, max(1, 128 // n), width)


def _decay(A: Parts, delta: jax.Array) -> Parts:
    """exp(delta A) (width, n), with the real part of A in units of log 2: the hardware has exp2."""
    modulus = exp2(delta[:, None] * A[0])
    if len(A) == 1:
        return [modulus]
    angle = delta[:, None] * A[1]
    return [modulus * jnp.cos(angle), modulus * jnp.sin(angle)]


def _plus_product(z: Parts, x: Parts, y: Parts) -> Parts:
    """z + x y."""
    if len(x) == 1:
        return [multiply_add(x[0], y[0], z[0])]
    real = multiply_add(-x[1], y[1], multiply_add(x[0], y[0], z[0]))
    return [real, multiply_add(x[1], y[0], multiply_add(x[0], y[1], z[1]))]


def _conjugate_times(x: Parts, y: Parts) -> Parts:
    return [x[0] * y[0]] if len(x) == 1 else [x[0] * y[0] + x[1] * y[1], x[0] * y[1] - x[1] * y[0]]


def _inner(x: Parts, y: Parts) -> jax.Array:
    """The sum over the states of the products of parts (width,)."""
    products = [p * q for p, q in zip(x, y, strict=True)]
    return jnp.sum(products[0] if len(products) == 1 else products[0] + products[1], axis=1)


def _softplus(x: jax.Array) -> jax.Array:
    """max(x, 0) + log(1 + e) with e = exp(-|x|), by the series of 2 artanh(e / (2 + e)), as exact for small e."""
    e = exp2(-LOG2_E * jnp.abs(x))
    quotient = e * reciprocal(2 + e)
    square, series = quotient * quotient, jnp.full_like(x, 1 / 13)
    for odd in (11, 9, 7, 5, 3, 1):
        series = multiply_add(series, square, 1 / odd)
    return jnp.maximum(x, 0) + 2 * quotient * series


class _Program:
    """What both kernels read: inputs of one row and some channels, as float32."""

    def __init__(self, inputs: Inputs, layout: Layout, softplus: bool):
        self.inputs, self.softplus = inputs, softplus
        width, self.warps, self.chunk, self.group = layout[:4]
        self.row, self.block = pl.program_id(0), pl.program_id(1)
        self.channels = pl.ds(self.block * width, width)
        real, *imaginary = (x[self.channels, :] for x in inputs.A)
        self.A = [real * LOG2_E, *imaginary]
        self.D, self.bias = (x[self.channels].astype(jnp.float32) for x in (inputs.D, inputs.delta_bias))
        self.states = lax.broadcasted_iota(jnp.int32, (width, real.shape[1]), 1)
        self.groups = inputs.u.shape[1] // (self.chunk * self.group)

    def times(self, i):
        """The steps of chunk i."""
        return [i * self.chunk + k for k in range(self.chunk)]

    def sequence(self, ref, t):
        """One step of this program's channels (width,)."""
        return ref[self.row, t, self.channels].astype(jnp.float32)

    def projection(self, refs, t):
        """One step of B or C (width, n), repeated for all channels: as rows they would have to move between threads."""
        return [ref[self.row, t, self.states] for ref in refs]

    def store_by_warp(self, ref, place, x):
        """The sums of x (width, n) over the channels of each warp, at a place in this program's part of `ref`.

        Each warp has its own: to add over all of them they would have to wait for each other at every step.
        """
        width, n = x.shape
        threads = threads_over_channels(width, n)
        # The compiler gives neighbouring channels to the threads of a warp first, then to warps, then to registers.
        x = x.reshape(-1, self.warps, threads, n)
        x = x.sum(0) if len(x) > 1 else x[0]
        total = jnp.broadcast_to(x.sum(1, keepdims=True), x.shape)
        warp, state = (lax.broadcasted_iota(jnp.int32, x.shape, axis) for axis in (0, 2))
        ref[self.row, self.block, *place, warp, state] = total

    def step_size(self, delta):
        delta = delta + self.bias
        return _softplus(delta) if self.softplus else delta

    def over_group(self, j, body, carry):
        """`carry = body(i, carry)` for the chunks i of group j, one after the other."""
        if self.group == 1:
            return body(j, carry)
        return lax.fori_loop(j * self.group, (j + 1) * self.group, body, carry)

    def step(self, decay, h, u, delta, B):
        """The next state (width, n)."""
        entering = [(delta * u)[:, None] * part for part in B]
        return _plus_product(entering, decay, h)


def forward_kernel(inputs: Inputs, _: Any, outputs: dict[str, Any], *, layout: Layout, softplus: bool) -> None:
    """The kernel of the forward pass: y and the last state; with "boundaries" the states before each group too."""
    program = _Program(inputs, layout, softplus)
    row, channels, read = program.row, program.channels, program.sequence

    def group(j, h):
        if "boundaries" in outputs:
            for ref, part in zip(outputs["boundaries"], h, strict=True):
                ref[row, j, channels, :] = part
        return program.over_group(j, chunk, h)

    def chunk(i, h):
        times = program.times(i)
        # All loads first, so that they are under way together.
        loads = [
            (read(inputs.u, t), read(inputs.delta, t), program.projection(inputs.B, t), program.projection(inputs.C, t))
            for t in times
        ]
        gates = [None if inputs.z is None else read(inputs.z, t) for t in times]
        for t, (u, delta, B, C), z in zip(times, loads, gates, strict=True):
            delta = program.step_size(delta)
            h = program.step(_decay(program.A, delta), h, u, delta, B)
            y = multiply_add(program.D, u, _inner(h, C))
            if z is not None:
                if outputs.get("ungated") is not None:
                    outputs["ungated"][row, t, channels] = y.astype(outputs["ungated"].dtype)
                y = y * z * sigmoid(z)
            outputs["y"][row, t, channels] = y.astype(outputs["y"].dtype)
        return h

    h = lax.fori_loop(0, program.groups, group, [x[row, channels, :] for x in inputs.h0])
    for ref, part in zip(outputs["last"], h, strict=True):
        ref[row, channels, :] = part


def _gate_gradient(program, kept, gradient, times):
    """The gradient by z of a whole chunk (k, width): one thread for each number, where single steps leave most idle.

    It takes the place of y before its gate.
    """
    refs = (program.inputs.z, kept["dy"], gradient)
    z, dy, ungated = (x[program.row, times, program.channels].astype(jnp.float32) for x in refs)
    gate = sigmoid(z)
    gradient[program.row, times, program.channels] = (dy * ungated * gate * (1 + z * (1 - gate))).astype(gradient.dtype)


def backward_kernel(
    inputs: Inputs, kept: dict[str, Any], gradients: dict[str, Any], *, layout: Layout, softplus: bool
) -> None:
    """The kernel of the backward pass over one segment: makes the states again and goes through them from the end.

    Of `gradients`, those by B and C and the scratch "partial" and "states" are new; all others hold what the segments
    behind have left, that by h0 the gradient by the state after this segment, and that by z holds y before its gate.
    """
    program, ahead = _Program(inputs, layout, softplus), layout.ahead
    row, channels, read = program.row, program.channels, program.sequence
    rates = [program.A[0] / LOG2_E, *program.A[1:]]

    def store(name, t, value):
        gradients[name][row, t, channels] = value.astype(gradients[name].dtype)

    begin = kept["segment"][0] * layout.segment

    def group(k, carry):
        j = begin + layout.segment - 1 - k
        before = [x[row, j, channels, :] for x in kept["boundaries"]]
        if layout.group == 1:
            return chunk(j, before, carry)
        first, last = j * layout.group, (j + 1) * layout.group - 1
        write(last - first, lax.fori_loop(first, last, through, before))
        # What one thread has written another may read.
        barrier()

        def again(k, carry):
            before = [ref[row, program.block, layout.group - 1 - k] for ref in gradients["states"]]
            return chunk(last - k, before, carry)

        return lax.fori_loop(0, layout.group, again, carry)

    def write(place, h):
        for ref, part in zip(gradients["states"], h, strict=True):
            ref[row, program.block, place] = part

    def entering(i):
        """What makes the states of chunk i, all loads first."""
        return [(read(inputs.u, t), read(inputs.delta, t), program.projection(inputs.B, t)) for t in program.times(i)]

    def through(i, h):
        """The state after chunk i; the one before it is written down."""
        write(lax.rem(i, jnp.asarray(layout.group, i.dtype)), h)
        for u, delta, B in entering(i):
            delta = program.step_size(delta)
            h = program.step(_decay(program.A, delta), h, u, delta, B)
        return h

    def chunk(i, before, carry):
        g, dA, dD, dbias = carry
        times = program.times(i)
        states = [before]
        sizes, decays = [], []
        for u, delta, B in entering(i):
            sizes.append(program.step_size(delta))
            decays.append(_decay(program.A, sizes[-1]))
            states.append(program.step(decays[-1], states[-1], u, sizes[-1], B))

        def load(t):
            z = None if inputs.z is None else read(inputs.z, t)
            B, C = program.projection(inputs.B, t), program.projection(inputs.C, t)
            return read(inputs.u, t), read(inputs.delta, t), z, read(kept["dy"], t), B, C

        # Some steps ahead of their use: a load waits for the stores before it, and with all of them first, the
        # registers would not do.
        loads = [load(t) for t in reversed(times[-ahead:])]
        if inputs.z is not None:
            _gate_gradient(program, kept, gradients["z"], pl.ds(i * layout.chunk, layout.chunk))
        for k in reversed(range(layout.chunk)):
            if k >= ahead:
                loads.append(load(times[k - ahead]))
            t, delta, (u, raw, z, dy, B, C) = times[k], sizes[k], loads.pop(0)
            if z is not None:
                dy = dy * z * sigmoid(z)
            dD = multiply_add(dy, u, dD)
            g = [multiply_add(dy[:, None], c, part) for part, c in zip(g, C, strict=True)]
            for which, values in enumerate(
                ([(delta * u)[:, None] * x for x in g], [dy[:, None] * x for x in states[k + 1]])
            ):
                for ref, value in zip(gradients["partial"], values, strict=True):
                    program.store_by_warp(ref, (which, k), value)
            through_input = _inner(g, B)
            store("u", t, multiply_add(delta, through_input, program.D * dy))
            # From here on g is the gradient by the state before.
            g = _conjugate_times(decays[k], g)
            through_rate = _conjugate_times(states[k], g)
            ddelta = multiply_add(u, through_input, _inner(through_rate, rates))
            if softplus:
                ddelta = ddelta * sigmoid(raw + program.bias)
            store("delta", t, ddelta)
            dbias = dbias + ddelta
            dA = [multiply_add(delta[:, None], part, x) for x, part in zip(dA, through_rate, strict=True)]
        barrier()
        for which, name in enumerate(("B", "C")):
            for ref, partial_sums in zip(gradients[name], gradients["partial"], strict=True):
                by_warp = [partial_sums[row, program.block, which, :, warp, :] for warp in range(program.warps)]
                place = pl.ds((i - begin * layout.group) * layout.chunk, layout.chunk)
                ref[row, program.block, place, :] = sum(by_warp[1:], by_warp[0])
        barrier()
        return g, dA, dD, dbias

    by_state = [[x[row, channels, :] for x in gradients[name]] for name in ("h0", "A")]
    by_channel = [gradients[name][row, channels] for name in ("D", "delta_bias")]
    g, dA, dD, dbias = lax.fori_loop(0, layout.segment, group, (*by_state, *by_channel))
    for ref, part in zip([*gradients["A"], *gradients["h0"]], [*dA, *g], strict=True):
        ref[row, channels, :] = part
    gradients["D"][row, channels], gradients["delta_bias"][row, channels] = dD, dbias
