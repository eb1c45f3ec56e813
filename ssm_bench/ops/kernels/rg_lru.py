"""The RG-LRU and its adjoint as kernels for NVIDIA GPUs: gates, decays and gains are made where they are used.

Only inputs, gates and states are in memory; the backward pass makes the rest again. `rg_lru` computes the same
everywhere without them.
"""

from functools import partial

import jax
import jax.numpy as jnp

from ssm_bench.ops.kernels.gpu import multiply_add, reciprocal, sigmoid
from ssm_bench.ops.kernels.walk import passes, segments_of, width_of
from ssm_bench.ops.precision import MAX_ROOT_DERIVATIVE

# Programs that fill a GPU. Where batch and channels make fewer, time is cut into segments.
_PROGRAMS = 2048

# Steps whose inputs are loaded while those before them are taken, since the gates of a step are a lot to compute.
_AHEAD = 8


def fused_rg_lru(
    x: jax.Array,
    gate_x: jax.Array,
    gate_a: jax.Array,
    rate: jax.Array,
    h0: jax.Array,
    fresh: jax.Array,
    *,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) sigmoid(gate_x_t) x_t, with log a_t = -rate sigmoid(gate_a_t).

    What is kept is a - 1, from which 1 - a^2 = (1 - a)(1 + a) comes without cancellation, and which a step adds to the
    state in proportion: `a` is never rounded, however near to 1 it is.

    Args:
        x: inputs (b, l, h), float32 or bfloat16.
        gate_x: input gate before its sigmoid (b, l, h), float32 or bfloat16.
        gate_a: recurrence gate before its sigmoid (b, l, h), float32 or bfloat16.
        rate: decay rate of an open gate (h,), float32.
        h0: the state before the first step (b, h), float32; zero for sequences that begin here.
        fresh: (b,) float32, 1 for sequences that begin here, whose first input is not scaled by the root, else 0.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        h (b, l, h) in the type of x, and the last state (b, h), float32.

    Differentiable in reverse mode, but not by `fresh`.
    """
    found: tuple[jax.Array, jax.Array] = _states(x, gate_x, gate_a, rate, h0, fresh, interpret)
    return found


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _states(x, gate_x, gate_a, rate, h0, fresh, interpret):
    return _forward(x, gate_x, gate_a, rate, h0, fresh, interpret)[0]


def _forward(x, gate_x, gate_a, rate, h0, fresh, interpret):
    inputs = [x, gate_x, gate_a]
    run, ends, carry = _begin(x.shape, interpret, reverse=False)
    if carry:
        carry = run(_ends_kernel, carry, inputs, rate, fresh, but_last=True)
    h, last = run(_states_kernel, [_like(x), ends], inputs, rate, fresh, h0, carry)
    return (h, last[:, -1]), (*inputs, rate, h0, fresh, h)


def _backward(interpret, residuals, gradients):
    """The adjoint g_t = a_{t+1} g_{t+1} + dh_t runs from the end, and all gradients are made of it on the way."""
    *inputs, rate, h0, fresh, h = residuals
    dh, dlast = gradients
    run, ends, carry = _begin(dh.shape, interpret, reverse=True)
    if carry:
        carry = run(_adjoint_ends_kernel, carry, [inputs[2], dh], rate, but_last=True)
    shapes = [[_like(x) for x in inputs], ends, ends]
    found, drate, dh0 = run(_adjoint_kernel, shapes, [*inputs, dh], rate, fresh, h, h0, dlast, carry)
    return *found, drate.sum((0, 1)), dh0[:, -1], jnp.zeros_like(fresh)


_states.defvjp(_forward, _backward)


def _begin(size, interpret, reverse):
    """What runs a kernel; the shape of what each segment ends in; and shapes for the first pass, if there is one.

    That finds for each segment but the last the state that it would end in by itself and how much it keeps of the one
    before it.
    """
    rows, length, channels = size
    segments = segments_of(_PROGRAMS, rows * (channels // width_of(channels)), length)
    carry = [(rows, segments - 1, channels)] * 2 if segments > 1 else []
    return passes(size, segments, reverse=reverse, interpret=interpret), (rows, segments, channels), carry


def _like(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _loss(gate, rate):
    """a - 1, and the opening of its gate."""
    opening = sigmoid(gate)
    return jnp.expm1(-rate * opening), opening


def _root(loss, unscaled):
    """sqrt(1 - a^2), or 1 where the input is not scaled."""
    return jnp.where(unscaled, 1.0, jnp.sqrt(-loss * (2 + loss)))


def _before_segment(walk, first, carry):
    """The state before the first step of a segment."""
    (state,) = walk.load([first])
    return walk.begin(state, partial(walk.load, carry), lambda known, h: known[1] * h + known[0])


def _walk_states(walk, inputs, rate, fresh, take, carried):
    """Goes along with `take(t, loss, input, carried)`."""
    rate, begins = rate[walk.channels], fresh[walk.row] > 0

    def gated(t, loaded, carried):
        x, gate_x, gate_a = loaded
        loss, _ = _loss(gate_a, rate)
        return take(t, loss, _root(loss, begins & (t == 0)) * sigmoid(gate_x) * x, carried)

    return walk.run(partial(walk.load, inputs), gated, carried, ahead=_AHEAD)


def _ends_kernel(walk, inputs, rate, fresh, ends, products):
    def take(t, loss, v, carried):
        h, kept = carried
        return multiply_add(loss, h, h) + v, multiply_add(loss, kept, kept)

    zero = jnp.zeros(walk.width, jnp.float32)
    carried = _walk_states(walk, inputs, rate, fresh, take, (zero, zero + 1))
    walk.store([ends, products], carried, walk.segment)


def _states_kernel(walk, inputs, rate, fresh, h0, carry, states, ends):
    def take(t, loss, v, h):
        h = multiply_add(loss, h, h) + v
        walk.store([states], [h], t)
        return h

    h = _walk_states(walk, inputs, rate, fresh, take, _before_segment(walk, h0, carry))
    walk.store([ends], [h], walk.segment)


# The adjoint carries a g, so that each coefficient meets the gradient of its own step.


def _adjoint_ends_kernel(walk, inputs, rate, ends, products):
    rate = rate[walk.channels]

    def take(t, loaded, carried):
        (gate_a, dh), (ag, kept) = loaded, carried
        loss, _ = _loss(gate_a, rate)
        g = ag + dh
        return multiply_add(loss, g, g), multiply_add(loss, kept, kept)

    zero = jnp.zeros(walk.width, jnp.float32)
    carried = walk.run(partial(walk.load, inputs), take, (zero, zero + 1), ahead=_AHEAD)
    walk.store([ends, products], carried, walk.segment)


def _adjoint_kernel(walk, inputs, rate, fresh, states, h0, dlast, carry, gradients, drate, ends):
    rate, begins = rate[walk.channels], fresh[walk.row] > 0
    (initial,) = walk.load([h0])

    def load(t):
        """Inputs and gradient, and the state that step t started from."""
        before, inside = walk.inside(t - 1)
        return *walk.load(inputs, t), jnp.where(inside, walk.load([states], before)[0], initial)

    def take(t, loaded, carried):
        (x, gate_x, gate_a, dh, h), (ag, total) = loaded, carried
        unscaled = begins & (t == 0)
        (loss, open_a), open_x = _loss(gate_a, rate), sigmoid(gate_x)
        a, root = 1 + loss, _root(loss, unscaled)
        g = ag + dh
        by_x, by_open_x = g * root * open_x, g * root * x
        # d(1 - a^2) / d log a = -2 a^2.
        slope = jnp.where(unscaled, 0.0, -2 * a * a * reciprocal(jnp.maximum(2 * root, 1 / MAX_ROOT_DERIVATIVE)))
        by_log_a = g * (a * h + slope * open_x * x)
        by_gates = by_open_x * open_x * (1 - open_x), -rate * by_log_a * open_a * (1 - open_a)
        walk.store(gradients, [by_x, *by_gates], t)
        return multiply_add(loss, g, g), total - by_log_a * open_a

    start = _before_segment(walk, dlast, carry)
    ag, total = walk.run(load, take, (start, jnp.zeros_like(start)), ahead=_AHEAD)
    walk.store([drate, ends], [total, ag], walk.segment)
