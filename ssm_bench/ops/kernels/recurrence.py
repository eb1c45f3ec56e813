"""The linear recurrence and its adjoint as kernels for NVIDIA GPUs: the state stays in a register.

Each reads what it needs once and writes its results once. The other backends of `linear_recurrence` compute the same
everywhere.
"""

from functools import partial

import jax
import jax.numpy as jnp

from ssm_bench.ops.kernels.walk import (
    Parts,
    add,
    from_parts,
    multiply,
    passes,
    segments_of,
    steps_of,
    to_parts,
    width_of,
)

# Programs that fill a GPU. Where batch and channels make fewer, time is cut into segments.
_PROGRAMS = 1024


def fused_recurrence(
    a: jax.Array, b: jax.Array, h0: jax.Array, *, logarithmic: bool = False, reverse: bool, interpret: bool = False
) -> jax.Array:
    """h_t = a_t h_{t-1} + b_t along axis 1.

    Where there are too few channels to fill the GPU, time is cut into segments: a first pass finds for each the state
    that it would end in by itself, and how much it keeps of the one before it.

    Args:
        a: coefficients (b, l, ...), or constant ones (...); float32 or complex64.
        b: inputs (b, l, ...), of the same type.
        h0: the state before the first step (b, ...), of the same type; with `reverse`, after the last.
        logarithmic: a constant `a` is given by its logarithm, for exact powers.
        reverse: from the last step to the first.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        Every state h (b, l, ...).

    Differentiable in reverse mode.
    """
    flat = b.reshape(*b.shape[:2], -1)
    a = a.reshape(-1) if a.ndim == b.ndim - 2 else a.reshape(flat.shape)
    h: jax.Array = _states(a, flat, h0.reshape(len(h0), -1), logarithmic, reverse, interpret)
    return h.reshape(b.shape)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _states(a: jax.Array, b: jax.Array, h0: jax.Array, logarithmic: bool, reverse: bool, interpret: bool) -> jax.Array:
    """All states (b, l, d); `a` (d,) or like `b`, h0 (b, d)."""
    return _forward(a, b, h0, logarithmic, reverse, interpret)[0]


def _forward(a, b, h0, logarithmic, reverse, interpret):
    h = from_parts(_solve(a, b, h0, logarithmic, reverse, interpret)[0])
    return h, (a, h0, h)


def _backward(logarithmic, reverse, interpret, residuals, dh):
    """The adjoint g_t = a_{t+1} g_{t+1} + dh_t runs the other way; then db_t = g_t, da_t = g_t h_{t-1}, dh0 = a_1 g_1.

    JAX's complex cotangents are those of a holomorphic function: nothing is conjugated.
    """
    a, h0, h = residuals
    found = _solve(a, dh, jnp.zeros_like(h0), logarithmic, not reverse, interpret, before=(to_parts(h), to_parts(h0)))
    db, da, dh0 = (from_parts(parts) for parts in found)
    if a.ndim == 1:
        da = da.sum((0, 1))
    return da * jnp.exp(a) if logarithmic else da, db, dh0[:, -1]


_states.defvjp(_forward, _backward)


def _solve(a, inputs, first, logarithmic, reverse, interpret, before=None):
    """All states from the inputs; with `before`, the states and h0 of a solution, its adjoint from their gradients.

    The adjoint gives g; its products with the states, or for a constant `a` their sum in each program; and a g at the
    end of each segment.
    """
    (rows, length, channels), constant, adjoint = inputs.shape, a.ndim == 1, before is not None
    segments = segments_of(_PROGRAMS, rows * (channels // width_of(channels)), length)
    run = passes(inputs.shape, segments, reverse=reverse, interpret=interpret)
    a_parts, inputs, first = (to_parts(x) for x in (jnp.exp(a) if logarithmic else a, inputs, first))

    def shapes(*each):
        return [[shape] * len(inputs) for shape in each]

    carry = []
    if segments > 1:
        ends = [(rows, segments - 1, channels)] * (1 if constant else 2)
        carry = [*run(partial(_ends_kernel, adjoint=adjoint), shapes(*ends), a_parts, inputs, but_last=True)]
        if constant:
            steps = steps_of(length, segments)
            carry.append(to_parts(jnp.exp(steps * a) if logarithmic else a**steps))
    all_steps, ends = (rows, length, channels), (rows, segments, channels)
    if before is None:
        return run(_states_kernel, shapes(all_steps), a_parts, inputs, first, carry)
    outputs = shapes(all_steps, ends if constant else all_steps, ends)
    return run(_adjoint_kernel, outputs, a_parts, inputs, *before, first, carry)


def _coefficients(walk, a):
    """A function of time."""
    if len(a[0].shape) > 1:
        return partial(walk.load, a)
    constant = [part[walk.channels] for part in a]
    return lambda t: constant


def _step(a: Parts, h: Parts, x: Parts, adjoint: bool) -> Parts:
    """The next state; of the adjoint a g, so that each coefficient meets the gradient of its own step."""
    return multiply(a, add(h, x)) if adjoint else add(multiply(a, h), x)


def _begin(walk, first, carry):
    """The state before the first step of a segment."""
    if not carry:
        return walk.load(first)
    ends, products = carry[0], _coefficients(walk, carry[1])
    load = lambda i: (walk.load(ends, i), products(i))  # noqa: E731
    return walk.begin(walk.load(first), load, lambda known, h: add(multiply(known[1], h), known[0]))


def _ends_kernel(walk, a, inputs, ends, *products, adjoint):
    """The state that each segment ends in from zero, and the product of its coefficients if they vary."""
    coefficient = _coefficients(walk, a)

    def take(t, loaded, carried):
        (a_t, x_t), (h, kept) = loaded, carried
        return _step(a_t, h, x_t, adjoint), [multiply(a_t, product) for product in kept]

    zero = [jnp.zeros(walk.width, jnp.float32) for _ in a]
    one = [zero[0] + 1, *zero[1:]]
    h, kept = walk.run(lambda t: (coefficient(t), walk.load(inputs, t)), take, (zero, [one for _ in products]))
    for refs, value in zip((ends, *products), (h, *kept), strict=True):
        walk.store(refs, value, walk.segment)


def _states_kernel(walk, a, inputs, first, carry, states):
    coefficient = _coefficients(walk, a)

    def take(t, loaded, h):
        h = _step(loaded[0], h, loaded[1], adjoint=False)
        walk.store(states, h, t)
        return h

    walk.run(lambda t: (coefficient(t), walk.load(inputs, t)), take, _begin(walk, first, carry))


def _adjoint_kernel(walk, a, gradients, states, h0, first, carry, g, da, ends):
    coefficient, constant = _coefficients(walk, a), len(a[0].shape) == 1
    initial = walk.load(h0)

    def load(t):
        """The coefficient, the gradient, and the state that step t started from: the one of the next on this walk."""
        before, inside = walk.inside(t + walk.sign)
        h = [jnp.where(inside, x, x0) for x, x0 in zip(walk.load(states, before), initial, strict=True)]
        return coefficient(t), walk.load(gradients, t), h

    def take(t, loaded, carried):
        (a_t, dh_t, h), (ag, total) = loaded, carried
        g_t = add(ag, dh_t)
        walk.store(g, g_t, t)
        product = multiply(g_t, h)
        if constant:
            total = add(total, product)
        else:
            walk.store(da, product, t)
        return multiply(a_t, g_t), total

    ag, total = walk.run(load, take, (_begin(walk, first, carry), [jnp.zeros_like(x) for x in initial]))
    walk.store(ends, ag, walk.segment)
    if constant:
        walk.store(da, total, walk.segment)
