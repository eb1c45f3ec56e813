"""What one program of the kernels of the selective scan does: some channels of one row, along all of time.

A kernel has real numbers only, so complex ones are lists of two parts in it, and real ones lists of one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.kernels.gpu import LOG2_E, barrier, exp2, multiply_add, opaque, reciprocal, sigmoid, store
from ssm_bench.ops.kernels.walk import Parts


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


# States of one channel that a thread holds side by side, as the compiler shares them out.
_HELD = 4


def threads_over_channels(width: int, n: int) -> int:
    """Threads of a warp that hold the same states of different channels."""
    return min(32, max(1, 32 * _HELD // n), width)


def turn_of(k: Any, segments: int, rows: int, b: int) -> tuple[Any, Any, Any]:
    """Of turn k of the backward pass: the segment, the first row of the batch, and the first that is not done."""
    new = lax.div(k, jnp.full_like(k, segments)) * rows
    # The last rows, when fewer are left, begin with some that are done.
    return segments - 1 - lax.rem(k, jnp.full_like(k, segments)), jnp.minimum(new, b - rows), new


def _decay(A: Parts, delta: jax.Array) -> Parts:
    """exp(delta A), all (width, n), with the real part of A in units of log 2: the hardware has exp2."""
    modulus = exp2(delta * A[0])
    if len(A) == 1:
        return [modulus]
    angle = delta * A[1]
    return [modulus * jnp.cos(angle), modulus * jnp.sin(angle)]


def _plus_product(z: Parts, x: Parts, y: Parts) -> Parts:
    """z + x y."""
    if len(x) == 1:
        return [multiply_add(x[0], y[0], z[0])]
    real = multiply_add(-x[1], y[1], multiply_add(x[0], y[0], z[0]))
    return [real, multiply_add(x[1], y[0], multiply_add(x[0], y[1], z[1]))]


def _sum_of_products(xs: Parts, ys: Parts) -> jax.Array:
    """x_0 y_0 + x_1 y_1 + ..., where the compiler would multiply first and add afterwards."""
    total = xs[0] * ys[0]
    for x, y in zip(xs[1:], ys[1:], strict=True):
        total = multiply_add(x, y, total)
    return total


def _conjugate_times(x: Parts, y: Parts) -> Parts:
    if len(x) == 1:
        return [x[0] * y[0]]
    return [_sum_of_products(x, y), multiply_add(-x[1], y[0], x[0] * y[1])]


def _inner(x: Parts, y: Parts) -> jax.Array:
    """The sum over the states of the products of parts (width,)."""
    return jnp.sum(_sum_of_products(_by_place(x), _by_place(y)), axis=1)


def _by_place(x: Parts) -> Parts:
    """Of each part (width, n) four arrays (width, n / 4): of the four states that a thread holds one in each."""
    width, n = x[0].shape
    columns = [one for part in x for one in jnp.split(part.reshape(width, n // _HELD, _HELD), _HELD, axis=2)]
    return [column.reshape(width, n // _HELD) for column in columns]


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
    "steps" (2, chunk, width, 4), read step by step, and "sums" (k, width, chunk), written for some steps at once.
    """

    def __init__(self, inputs: Inputs, work: dict[str, Any], layout: Layout, softplus: bool, first: Any = 0):
        """For row `first` of the batch and those after it. `own` says where this program has its places to work in."""
        self.inputs, self.work, self.softplus = inputs, work, softplus
        width, self.warps, self.chunk = layout[:3]
        self.row, self.block = first + pl.program_id(0), pl.program_id(1)
        self.own = pl.program_id(0), self.block
        self.channels = pl.ds(self.block * width, width)
        real, *imaginary = (x[self.channels, :] for x in inputs.A)
        self.A = [real * LOG2_E, *imaginary]
        self.D, self.bias = (x[self.channels].astype(jnp.float32) for x in (inputs.D, inputs.delta_bias))
        self.shape = real.shape
        self.steps, column = (lax.broadcasted_iota(jnp.int32, (self.chunk, width), axis) for axis in (0, 1))
        # As neighbors several would be loaded into one thread, and then move to be handed out.
        self.columns = self.block * width + opaque(column)
        self.channel, self.states = (lax.broadcasted_iota(jnp.int32, self.shape, axis) for axis in (0, 1))

    def read(self, ref, i):
        """Chunk i of this program's channels (chunk, width)."""
        return ref[self.row, i * self.chunk + self.steps, self.columns].astype(jnp.float32)

    def write(self, ref, i, value):
        """As `read`."""
        ref[self.row, i * self.chunk + self.steps, self.columns] = value.astype(ref.dtype)

    def projection(self, refs, t):
        """One step of B or C (width, n), repeated for all channels: as rows they would have to move between threads."""
        return [ref[self.row, t, self.states] for ref in refs]

    def projections(self, refs, i):
        """All steps of chunk i of B or C."""
        return [self.projection(refs, i * self.chunk + k) for k in range(self.chunk)]

    def hand_out(self, place, *numbers):
        """Puts numbers of a chunk (chunk, width) into one of two places, where `step_of` finds them."""
        for which, values in enumerate(numbers):
            self.work["steps"][*self.own, place, :, :, which] = values
        barrier()

    def step_of(self, place, k):
        """Step k of the numbers that were handed out, each repeated for all states (width, n), by one load."""
        # A thread reads four numbers, one for each state that it holds of a channel, and then has all of them.
        which = lax.rem(self.states, jnp.full_like(self.states, _HELD))
        numbers = _by_place([self.work["steps"][*self.own, place, k, self.channel, which]])
        return [jnp.broadcast_to(x[..., None], (*x.shape, _HELD)).reshape(self.shape) for x in numbers]

    def collect(self, which, sums, k, values, last):
        """`sums` (width, n) with the numbers (width,) of step k of a chunk; after step `last` they are written down.

        There is room for n steps at once.
        """
        steps = min(self.chunk, self.shape[1])
        sums = jnp.where(self.states == k % steps, values[:, None], sums)
        if k % steps == last % steps:
            place = (*self.own, which, self.channel, k // steps * steps + self.states)
            store(self.work["sums"], place, sums, self.states < steps)
        return sums

    def collected(self, which):
        """What was written down for a whole chunk (chunk, width), after a `barrier`."""
        shape = self.chunk, self.shape[0]
        step, channel = (lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
        return self.work["sums"][*self.own, which, channel, opaque(step)]

    def store_by_thread(self, ref, place, weight, x):
        """The sums of weight x (width, n) over the channels of each thread, at a place in this program's part of `ref`.

        To add over all threads they would have to wait for each other at every step.
        """
        width, n = x.shape
        threads = self.warps * threads_over_channels(width, n)
        # The compiler gives neighboring channels to the threads of a warp first, then to warps, then to registers.
        weights, xs = (jnp.split(array, width // threads) for array in (weight, x))
        total = _sum_of_products(weights, xs)
        thread, state = (lax.broadcasted_iota(jnp.int32, total.shape, axis) for axis in (0, 1))
        ref[*self.own, *place, thread, state] = total

    def by_thread(self, ref, which):
        """What was stored by each thread for a whole chunk (chunk, n), after a `barrier`."""
        return [ref[*self.own, which, :, thread, :] for thread in range(ref.shape[4])]

    def step_size(self, delta):
        delta = delta + self.bias[None]
        return _softplus(delta) if self.softplus else delta

    def step(self, decay, h, x, B):
        """The next state (width, n), with x = delta u."""
        return _plus_product([x * part for part in B], decay, h)


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
        # One place will do, since there is a barrier after the last step.
        program.hand_out(0, delta, delta * u)
        # Under way while this chunk is taken.
        following = load(jnp.minimum(i + 1, groups * layout.group - 1))
        sums = jnp.zeros(program.shape, jnp.float32)
        for k in range(layout.chunk):
            size, x, *_ = program.step_of(0, k)
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
    """The kernel of the backward pass over one segment of some rows of a batch.

    It makes the states again and goes through them from the end.
    Of `gradients`, those by B and C, "partial", "states" and "work" are new; all others hold what the segments behind
    have left, that by h0 the gradient by the state after this segment, and that by z holds y before its gate.
    """
    segments = inputs.u.shape[1] // (layout.chunk * layout.group * layout.segment)
    rows = gradients["work"]["steps"].shape[0]
    segment, first, new = turn_of(kept["turn"][0], segments, rows, inputs.u.shape[0])
    program = _Program(inputs, gradients["work"], layout, softplus, first)

    @pl.when(program.row >= new)
    def _():
        _one_segment(program, segment, kept, gradients, layout)


def _one_segment(program, segment, kept, gradients, layout):
    """The segment of that number, of one row and some channels."""
    inputs, ahead = program.inputs, layout.ahead
    row, channels = program.row, program.channels
    rates = [program.A[0] / LOG2_E, *program.A[1:]]
    begin = segment * layout.segment

    def group(k, carry):
        j = begin + layout.segment - 1 - k
        before = [x[row, j, channels, :] for x in kept["boundaries"]]
        first, last = j * layout.group, (j + 1) * layout.group - 1
        h, _ = lax.fori_loop(first, last, through, (before, inputs_of(first)))
        write(last - first, h)
        # This has a barrier, so that what one thread has written another may read.
        hand_out(last, carry[-1])

        def again(k, carry):
            return chunk(last - k, jnp.maximum(last - first - 1 - k, 0), *carry)

        carry, _ = lax.fori_loop(0, layout.group, again, (carry, start(last, last - first)))
        return carry

    def write(place, h):
        for ref, part in zip(gradients["states"], h, strict=True):
            ref[*program.own, place] = part

    def inputs_of(i):
        return program.projections(inputs.B, i), program.read(inputs.delta, i), program.read(inputs.u, i)

    def through(i, carry):
        """The state after chunk i and what the next one takes; the state before it is written down."""
        h, (B, delta, u) = carry
        write(lax.rem(i, jnp.asarray(layout.group, i.dtype)), h)
        delta = program.step_size(delta)
        program.hand_out(place_of(i), delta, delta * u)
        # Under way while this chunk is taken.
        following = inputs_of(i + 1)
        for k in range(layout.chunk):
            size, x, *_ = program.step_of(place_of(i), k)
            h = program.step(_decay(program.A, size), h, x, B[k])
        return h, following

    def place_of(i):
        """Two chunks that follow each other have two places, so that one barrier is enough for each."""
        return jnp.bitwise_and(i, 1)

    def sequences(i):
        gate = [] if inputs.z is None else [inputs.z, gradients["z"]]
        return [program.read(ref, i) for ref in (inputs.u, inputs.delta, kept["dy"], *gate)]

    def numbers_of(u, raw, dy, *gate):
        """Of a chunk u, delta before and after its softplus, the gradient by y before its gate, and that by z."""
        if not gate:
            return u, raw, program.step_size(raw), dy, None
        z, ungated = gate
        gate = sigmoid(z)
        by_gate = dy * ungated * gate * (1 + z * (1 - gate))
        return u, raw, program.step_size(raw), dy * z * gate, by_gate

    def hand_out(i, numbers):
        u, _, delta, dy, _ = numbers
        program.hand_out(place_of(i), delta, delta * u, dy)

    def start(i, place):
        """What chunk i takes before all else, with the state that was written down at a place."""
        steps = [program.step_of(place_of(i), k)[:2] for k in range(layout.chunk)]
        return [ref[*program.own, place] for ref in gradients["states"]], program.projections(inputs.B, i), steps

    def chunk(i, place_behind, carry, begun):
        """Chunk i, from its last step to its first, and what the chunk behind it in time starts with."""
        g, dA, dD, dbias, numbers = carry
        before, B, steps = begun
        behind = jnp.maximum(i - 1, begin * layout.group)
        # Under way while this chunk is taken.
        following = sequences(behind)
        states, decays = [before], []
        for k, (size, x) in enumerate(steps):
            decays.append(_decay(program.A, size))
            states.append(program.step(decays[-1], states[-1], x, B[k]))

        def load(k):
            t = i * layout.chunk + k
            size, x, weight, _ = program.step_of(place_of(i), k)
            return size, x, weight, program.projection(inputs.B, t), program.projection(inputs.C, t)

        # Some steps ahead of their use: a load waits for the stores before it, and with all of them first, the
        # registers would not do.
        loads = [load(k) for k in reversed(range(layout.chunk - ahead, layout.chunk))]
        # By now all threads have read the sums of the chunk before this one.
        barrier()
        by_input = by_rate = jnp.zeros(program.shape, jnp.float32)
        for k in reversed(range(layout.chunk)):
            if k >= ahead:
                loads.append(load(k - ahead))
            size, x, weight, B_k, C_k = loads.pop(0)
            g = [multiply_add(weight, c, part) for part, c in zip(g, C_k, strict=True)]
            for which, weight_of, arrays in ((0, x, g), (1, weight, states[k + 1])):
                for ref, array in zip(gradients["partial"], arrays, strict=True):
                    program.store_by_thread(ref, (which, k), weight_of, array)
            by_input = program.collect(0, by_input, k, _inner(g, B_k), last=0)
            # From here on g is the gradient by the state before.
            g = _conjugate_times(decays[k], g)
            through_rate = _conjugate_times(states[k], g)
            by_rate = program.collect(1, by_rate, k, _inner(through_rate, rates), last=0)
            dA = [multiply_add(size, part, x) for x, part in zip(dA, through_rate, strict=True)]
        following = numbers_of(*following)
        # Its barrier is also the one after which the sums of this chunk may be read. Then all loads at once, those of
        # the next chunk too, so that they are waited for together.
        hand_out(i - 1, following)
        begun = start(behind, place_behind)
        by_input, by_rate = program.collected(0), program.collected(1)
        partial = [program.by_thread(ref, which) for which in range(2) for ref in gradients["partial"]]
        place = pl.ds((i - begin * layout.group) * layout.chunk, layout.chunk)
        for ref, sums in zip([*gradients["B"], *gradients["C"]], partial, strict=True):
            ref[*program.own, place, :] = sum(sums[1:], sums[0])
        u, raw, delta, dy, by_gate = numbers
        ddelta = multiply_add(u, by_input, by_rate)
        if program.softplus:
            ddelta = ddelta * sigmoid(raw + program.bias[None])
        program.write(gradients["u"], i, multiply_add(delta, by_input, program.D[None] * dy))
        program.write(gradients["delta"], i, ddelta)
        if by_gate is not None:
            # It takes the place of y before its gate.
            program.write(gradients["z"], i, by_gate)
        return (g, dA, multiply_add(dy, u, dD), dbias + ddelta, following), begun

    by_state = [[x[row, channels, :] for x in gradients[name]] for name in ("h0", "A")]
    nothing = jnp.zeros((layout.chunk, layout.width), jnp.float32)
    last = numbers_of(*sequences((begin + layout.segment) * layout.group - 1))
    # What one thread reads another may write: here, in the next chunk, and at the end.
    barrier()
    g, dA, dD, dbias, _ = lax.fori_loop(0, layout.segment, group, (*by_state, nothing, nothing, last))
    for ref, part in zip([*gradients["A"], *gradients["h0"]], [*dA, *g], strict=True):
        ref[row, channels, :] = part
    by_channel = {name: gradients[name][row, channels] + x.sum(0) for name, x in (("D", dD), ("delta_bias", dbias))}
    barrier()
    for name, total in by_channel.items():
        gradients[name][row, channels] = total
