"""What one program of the kernels of the selective scan does: some channels of one row, along all of time.

A kernel has real numbers only, so complex ones are lists of two parts in it, and real ones lists of one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.gpu import LOG2_E, barrier, exp2, multiply_add, opaque, reciprocal, sigmoid, store
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
    """What both kernels share: inputs of one row and some channels, as float32, and places to work in.

    What depends on a channel and a step alone is done for a whole chunk at once (chunk, width), one number a thread;
    next to the states, where a channel is held by many threads, each of them would do it again. So numbers go from
    chunks to single steps and back through `work`, which is too small to leave the cache:
    "steps" (k, chunk, width), read step by step, and "sums" (k, width, chunk), written for some steps at once.
    """

    def __init__(self, inputs: Inputs, work: dict[str, Any], layout: Layout, softplus: bool):
        self.inputs, self.work, self.softplus = inputs, work, softplus
        width, self.warps, self.chunk = layout[:3]
        self.row, self.block = pl.program_id(0), pl.program_id(1)
        self.channels = pl.ds(self.block * width, width)
        real, *imaginary = (x[self.channels, :] for x in inputs.A)
        self.A = [real * LOG2_E, *imaginary]
        self.D, self.bias = (x[self.channels].astype(jnp.float32) for x in (inputs.D, inputs.delta_bias))
        self.shape = real.shape
        self.channel, self.states = (lax.broadcasted_iota(jnp.int32, self.shape, axis) for axis in (0, 1))

    def read(self, ref, i):
        """Chunk i of this program's channels (chunk, width)."""
        return ref[self.row, pl.ds(i * self.chunk, self.chunk), self.channels].astype(jnp.float32)

    def write(self, ref, i, value):
        """As `read`."""
        ref[self.row, pl.ds(i * self.chunk, self.chunk), self.channels] = value.astype(ref.dtype)

    def projection(self, refs, t):
        """One step of B or C (width, n), repeated for all channels: as rows they would have to move between threads."""
        return [ref[self.row, t, self.states] for ref in refs]

    def projections(self, refs, i):
        """All steps of chunk i of B or C."""
        return [self.projection(refs, i * self.chunk + k) for k in range(self.chunk)]

    def hand_out(self, *numbers):
        """Puts numbers of a chunk (chunk, width) where `step_of` finds them, until after the next `barrier`."""
        for which, values in enumerate(numbers):
            self.work["steps"][self.row, self.block, which, :, :] = values
        barrier()

    def step_of(self, k):
        """Of what was handed out step k, each (width,)."""
        steps = self.work["steps"]
        return [steps[self.row, self.block, which, k, :] for which in range(steps.shape[2])]

    def collect(self, which, sums, k, values, last):
        """`sums` (width, n) with the numbers (width,) of step k of a chunk; after step `last` they are written down.

        There is room for n steps at once.
        """
        steps = min(self.chunk, self.shape[1])
        sums = jnp.where(self.states == k % steps, values[:, None], sums)
        if k % steps == last % steps:
            place = (self.row, self.block, which, self.channel, k // steps * steps + self.states)
            store(self.work["sums"], place, sums, self.states < steps)
        return sums

    def collected(self, which):
        """What was written down for a whole chunk (chunk, width), after a `barrier`."""
        shape = self.chunk, self.shape[0]
        step, channel = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
        return self.work["sums"][self.row, self.block, which, channel, opaque(step)]

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
        delta = delta + self.bias[None]
        return _softplus(delta) if self.softplus else delta

    def step(self, decay, h, x, B):
        """The next state (width, n), with x = delta u."""
        return _plus_product([x[:, None] * part for part in B], decay, h)


def forward_kernel(inputs: Inputs, _: Any, outputs: dict[str, Any], *, layout: Layout, softplus: bool) -> None:
    """The kernel of the forward pass: y and the last state; with "boundaries" the states before each group too."""
    program = _Program(inputs, outputs["work"], layout, softplus)
    row, channels = program.row, program.channels
    sequences = [x for x in (inputs.u, inputs.delta, inputs.z) if x is not None]
    groups = inputs.u.shape[1] // (layout.chunk * layout.group)

    def group(j, carry):
        if "boundaries" in outputs:
            for ref, part in zip(outputs["boundaries"], carry[0], strict=True):
                ref[row, j, channels, :] = part
        return lax.fori_loop(j * layout.group, (j + 1) * layout.group, chunk, carry)

    def load(i):
        return [program.read(x, i) for x in sequences]

    def chunk(i, carry):
        h, (u, delta, *z) = carry
        # All loads first, so that they are under way together.
        B, C = program.projections(inputs.B, i), program.projections(inputs.C, i)
        delta = program.step_size(delta)
        program.hand_out(delta, delta * u)
        # Under way while this chunk is taken.
        following = load(jnp.minimum(i + 1, groups * layout.group - 1))
        sums = jnp.zeros(program.shape, jnp.float32)
        for k in range(layout.chunk):
            size, x = program.step_of(k)
            h = program.step(_decay(program.A, size), h, x, B[k])
            sums = program.collect(0, sums, k, _inner(h, C[k]), last=layout.chunk - 1)
        barrier()
        y = multiply_add(program.D[None], u, program.collected(0))
        if z:
            if outputs.get("ungated") is not None:
                program.write(outputs["ungated"], i, y)
            y = y * z[0] * sigmoid(z[0])
        program.write(outputs["y"], i, y)
        return h, following

    h, _ = lax.fori_loop(0, groups, group, ([x[row, channels, :] for x in inputs.h0], load(0)))
    for ref, part in zip(outputs["last"], h, strict=True):
        ref[row, channels, :] = part


def backward_kernel(
    inputs: Inputs, kept: dict[str, Any], gradients: dict[str, Any], *, layout: Layout, softplus: bool
) -> None:
    """The kernel of the backward pass over one segment: makes the states again and goes through them from the end.

    Of `gradients`, those by B and C, "partial", "states" and "work" are new; all others hold what the segments behind
    have left, that by h0 the gradient by the state after this segment, and that by z holds y before its gate.
    """
    program, ahead = _Program(inputs, gradients["work"], layout, softplus), layout.ahead
    row, channels = program.row, program.channels
    rates = [program.A[0] / LOG2_E, *program.A[1:]]
    begin = kept["segment"][0] * layout.segment

    def group(k, carry):
        j = begin + layout.segment - 1 - k
        before = [x[row, j, channels, :] for x in kept["boundaries"]]
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

    def through(i, h):
        """The state after chunk i; the one before it is written down."""
        write(lax.rem(i, jnp.asarray(layout.group, i.dtype)), h)
        B = program.projections(inputs.B, i)
        delta = program.step_size(program.read(inputs.delta, i))
        program.hand_out(delta, delta * program.read(inputs.u, i))
        for k in range(layout.chunk):
            size, x, *_ = program.step_of(k)
            h = program.step(_decay(program.A, size), h, x, B[k])
        barrier()
        return h

    def sequences(i):
        gate = [] if inputs.z is None else [inputs.z, gradients["z"]]
        return [program.read(ref, i) for ref in (inputs.u, inputs.delta, kept["dy"], *gate)]

    def chunk(i, before, carry):
        g, dA, dD, dbias, (u, raw, dy, *gate) = carry
        B = program.projections(inputs.B, i)
        if gate:
            # The gradient by z takes the place of y before its gate.
            z, ungated = gate
            gate = sigmoid(z)
            program.write(gradients["z"], i, dy * ungated * gate * (1 + z * (1 - gate)))
            dy = dy * z * gate
        delta = program.step_size(raw)
        program.hand_out(delta, delta * u, dy)
        # Under way while this chunk is taken.
        following = sequences(jnp.maximum(i - 1, begin * layout.group))
        states, decays = [before], []
        for k in range(layout.chunk):
            size, x, _ = program.step_of(k)
            decays.append(_decay(program.A, size))
            states.append(program.step(decays[-1], states[-1], x, B[k]))

        def load(k):
            t = i * layout.chunk + k
            return *program.step_of(k), program.projection(inputs.B, t), program.projection(inputs.C, t)

        # Some steps ahead of their use: a load waits for the stores before it, and with all of them first, the
        # registers would not do.
        loads = [load(k) for k in reversed(range(layout.chunk - ahead, layout.chunk))]
        by_input = by_rate = jnp.zeros(program.shape, jnp.float32)
        for k in reversed(range(layout.chunk)):
            if k >= ahead:
                loads.append(load(k - ahead))
            size, x, weight, B_k, C_k = loads.pop(0)
            g = [multiply_add(weight[:, None], c, part) for part, c in zip(g, C_k, strict=True)]
            for which, values in enumerate(
                ([x[:, None] * part for part in g], [weight[:, None] * part for part in states[k + 1]])
            ):
                for ref, value in zip(gradients["partial"], values, strict=True):
                    program.store_by_warp(ref, (which, k), value)
            by_input = program.collect(0, by_input, k, _inner(g, B_k), last=0)
            # From here on g is the gradient by the state before.
            g = _conjugate_times(decays[k], g)
            through_rate = _conjugate_times(states[k], g)
            by_rate = program.collect(1, by_rate, k, _inner(through_rate, rates), last=0)
            dA = [multiply_add(size[:, None], part, x) for x, part in zip(dA, through_rate, strict=True)]
        barrier()
        for which, name in enumerate(("B", "C")):
            for ref, partial_sums in zip(gradients[name], gradients["partial"], strict=True):
                by_warp = [partial_sums[row, program.block, which, :, warp, :] for warp in range(program.warps)]
                place = pl.ds((i - begin * layout.group) * layout.chunk, layout.chunk)
                ref[row, program.block, place, :] = sum(by_warp[1:], by_warp[0])
        by_input = program.collected(0)
        ddelta = multiply_add(u, by_input, program.collected(1))
        if softplus:
            ddelta = ddelta * sigmoid(raw + program.bias[None])
        program.write(gradients["u"], i, multiply_add(delta, by_input, program.D[None] * dy))
        program.write(gradients["delta"], i, ddelta)
        return g, dA, multiply_add(dy, u, dD), dbias + ddelta, following

    by_state = [[x[row, channels, :] for x in gradients[name]] for name in ("h0", "A")]
    nothing = jnp.zeros((layout.chunk, layout.width), jnp.float32)
    last = sequences((begin + layout.segment) * layout.group - 1)
    # What one thread reads another may write: here, in the next chunk, and at the end.
    barrier()
    g, dA, dD, dbias, _ = lax.fori_loop(0, layout.segment, group, (*by_state, nothing, nothing, last))
    for ref, part in zip([*gradients["A"], *gradients["h0"]], [*dA, *g], strict=True):
        ref[row, channels, :] = part
    by_channel = {name: gradients[name][row, channels] + x.sum(0) for name, x in (("D", dD), ("delta_bias", dbias))}
    barrier()
    for name, total in by_channel.items():
        gradients[name][row, channels] = total
