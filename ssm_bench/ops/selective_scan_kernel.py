"""The selective scan as one kernel for NVIDIA GPUs: the states stay in registers and never reach memory.

The reference in `selective_scan` computes the same everywhere. A kernel has real numbers only, so complex ones are
lists of two parts in it, and real ones lists of one.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import pallas as pl

from ssm_bench.ops.gpu import call

# Steps between two states that the forward pass keeps. The backward pass holds the states of so many steps in
# registers at once: with 16 it runs out of them and takes twice the time.
_CHUNK = 8

# Real numbers of state of one program, in one warp: eight registers a thread; fewer where this leaves too few programs
# to fill a GPU.
_STATES = 256
_PROGRAMS = 1024

_LOG2_E = float(np.log2(np.e))

Parts = list[jax.Array]


def fused_scan(
    u: jax.Array, delta: jax.Array, A: jax.Array, B: jax.Array, C: jax.Array, h0: jax.Array, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t, or 2 Re(C_t h_t) where A is complex.

    Args:
        u: inputs (b, l, d), float32.
        delta: step sizes (b, l, d), float32.
        A: decay rates (d, n), float32 or complex64.
        B: input coefficients (b, l, n), real or complex.
        C: output coefficients (b, l, n), real or complex.
        h0: the state before the first step (b, d, n), of the type of A.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        y (b, l, d) and the last state (b, d, n). Memory O(b l d + b l d n / 8).

    Differentiable in reverse mode.
    """
    is_complex = jnp.iscomplexobj(A)
    # y = sum of parts of C times parts of h.
    C = 2 * jnp.conj(C) if is_complex else C
    parts = [_parts(x, is_complex) for x in (A, B, C, h0)]
    solved: tuple[jax.Array, Parts] = _scan(u, delta, *parts, interpret)
    y, last = solved
    return y, lax.complex(*last) if is_complex else last[0]


def _parts(x: jax.Array, is_complex: bool) -> Parts:
    return [jnp.real(x), jnp.imag(x)] if is_complex else [x]


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def _scan(
    u: jax.Array, delta: jax.Array, A: Parts, B: Parts, C: Parts, h0: Parts, interpret: bool
) -> tuple[jax.Array, Parts]:
    """y (b, l, d) and the last state."""
    return _forward(u, delta, A, B, C, h0, interpret)[0]


def _forward(u, delta, A, B, C, h0, interpret):
    length = u.shape[1]
    u, delta, B, C = _filled((u, delta, B, C))
    (b, l, d), n, parts = u.shape, A[0].shape[1], len(A)
    width = _channels(b, d, n * parts)
    y, *states = call(
        partial(_forward_kernel, parts=parts, width=width),
        (b, d // width),
        [(b, l, d), *[(b, l // _CHUNK, d, n)] * parts, *[(b, d, n)] * parts],
        interpret=interpret,
    )(u, delta, *_for_exp2(A), *B, *C, *h0)
    return (y[:, :length], states[parts:]), (u, delta, A, B, C, states[:parts])


def _backward(interpret, residuals, cotangents):
    u, delta, A, B, C, boundaries = residuals
    dy, dlast = cotangents
    (b, l, d), n, parts, length = u.shape, A[0].shape[1], len(A), dy.shape[1]
    dy = _filled(dy)
    width = _channels(b, d, n * parts)
    blocks = d // width
    du, ddelta, *others = call(
        partial(_backward_kernel, parts=parts, width=width),
        (b, blocks),
        [*[(b, l, d)] * 2, *[(b, d, n)] * 2 * parts, *[(b, blocks, l, n)] * 2 * parts],
        interpret=interpret,
    )(u, delta, *_for_exp2(A), *B, *C, *boundaries, dy, *dlast)
    dA, dh0, dB, dC = (others[i : i + parts] for i in range(0, 4 * parts, parts))
    # Sums over channels and over the batch cross programs; kept apart and added here they come out the same each time.
    dA = [x.sum(0) for x in dA]
    dB, dC = ([x.sum(1)[:, :length] for x in gradients] for gradients in (dB, dC))
    return du[:, :length], ddelta[:, :length], dA, dB, dC, dh0


_scan.defvjp(_forward, _backward)


def _filled(arrays):
    """Whole chunks (b, l, ...): steps of size zero change no state."""
    return jax.tree.map(lambda x: jnp.pad(x, ((0, 0), (0, -x.shape[1] % _CHUNK), (0, 0))), arrays)


def _channels(b: int, d: int, states: int) -> int:
    """Channels of one program: a power of two that divides d, for `states` real numbers of state a channel."""
    wanted = max(1, min(_STATES // states, b * d // _PROGRAMS))
    return min(1 << wanted.bit_length() - 1, d & -d)


def _for_exp2(A: Parts) -> Parts:
    """The real part over log 2: exp2 is what the hardware has."""
    return [A[0] * _LOG2_E, *A[1:]]


def _decay(A: Parts, delta: jax.Array) -> Parts:
    """exp(delta A) (width, n)."""
    modulus = jnp.exp2(delta[:, None] * A[0])
    if len(A) == 1:
        return [modulus]
    angle = delta[:, None] * A[1]
    return [modulus * jnp.cos(angle), modulus * jnp.sin(angle)]


def _times(x: Parts, y: Parts) -> Parts:
    return [x[0] * y[0]] if len(x) == 1 else [x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]]


def _conjugate_times(x: Parts, y: Parts) -> Parts:
    return [x[0] * y[0]] if len(x) == 1 else [x[0] * y[0] + x[1] * y[1], x[0] * y[1] - x[1] * y[0]]


def _step(A: Parts, h: Parts, u: jax.Array, delta: jax.Array, B: Parts) -> Parts:
    """The next state (width, n)."""
    kept = _times(_decay(A, delta), h)
    return [k + (delta * u)[:, None] * part[None, :] for k, part in zip(kept, B, strict=True)]


def _sum(x: Parts, y: Parts, axis: int) -> jax.Array:
    """The sum over an axis of the products of parts."""
    products = [p * q for p, q in zip(x, y, strict=True)]
    return jnp.sum(products[0] if len(products) == 1 else products[0] + products[1], axis=axis)


def _rows(parts: Parts) -> Parts:
    return [x[None, :] for x in parts]


def _forward_kernel(u, delta, *others, parts, width):
    A, B, C, h0, (y, *others) = *(others[i : i + parts] for i in range(0, 4 * parts, parts)), others[4 * parts :]
    boundaries, last = others[:parts], others[parts:]
    row, channels = pl.program_id(0), pl.ds(pl.program_id(1) * width, width)
    rates = [x[channels, :] for x in A]

    def chunk(i, h):
        for ref, part in zip(boundaries, h, strict=True):
            ref[row, i, channels, :] = part
        times = [i * _CHUNK + k for k in range(_CHUNK)]
        # All loads first, so that they are under way together.
        inputs = [(u[row, t, channels], delta[row, t, channels], [x[row, t, :] for x in B]) for t in times]
        outputs = [[x[row, t, :] for x in C] for t in times]
        for t, (u_t, delta_t, B_t), C_t in zip(times, inputs, outputs, strict=True):
            h = _step(rates, h, u_t, delta_t, B_t)
            y[row, t, channels] = _sum(h, _rows(C_t), axis=1)
        return h

    h = lax.fori_loop(0, u.shape[1] // _CHUNK, chunk, [x[row, channels, :] for x in h0])
    for ref, part in zip(last, h, strict=True):
        ref[row, channels, :] = part


def _backward_kernel(u, delta, *others, parts, width):
    A, B, C, boundaries = (others[i : i + parts] for i in range(0, 4 * parts, parts))
    dy, dlast, (du, ddelta) = others[4 * parts], others[4 * parts + 1 : 5 * parts + 1], others[5 * parts + 1 :][:2]
    dA, dh0, dB, dC = (others[5 * parts + 3 :][i : i + parts] for i in range(0, 4 * parts, parts))
    row, block = pl.program_id(0), pl.program_id(1)
    channels = pl.ds(block * width, width)
    rates = [x[channels, :] for x in A]
    chunks = u.shape[1] // _CHUNK

    def chunk(i, carry):
        g, rate_gradient = carry
        i = chunks - 1 - i
        times = [i * _CHUNK + k for k in range(_CHUNK)]
        inputs = [(u[row, t, channels], delta[row, t, channels], [x[row, t, :] for x in B]) for t in times]
        states = [[x[row, i, channels, :] for x in boundaries]]
        for u_t, delta_t, B_t in inputs:
            states.append(_step(rates, states[-1], u_t, delta_t, B_t))
        for k in reversed(range(_CHUNK)):
            t, (u_t, delta_t, B_t) = times[k], inputs[k]
            dy_t = dy[row, t, channels][:, None]
            g = [x + dy_t * ref[row, t, :][None, :] for x, ref in zip(g, C, strict=True)]
            for ref, part in zip(dC, states[k + 1], strict=True):
                ref[row, block, t, :] = jnp.sum(dy_t * part, axis=0)
            for ref, part in zip(dB, g, strict=True):
                ref[row, block, t, :] = jnp.sum(part * (delta_t * u_t)[:, None], axis=0)
            through_input = _sum(g, _rows(B_t), axis=1)
            du[row, t, channels] = delta_t * through_input
            # From here on g is the gradient by the state before.
            g = _conjugate_times(_decay(rates, delta_t), g)
            through_rate = _conjugate_times(states[k], g)
            by_rates = _sum(through_rate, [rates[0] / _LOG2_E, *rates[1:]], axis=1)
            ddelta[row, t, channels] = by_rates + u_t * through_input
            rate_gradient = [x + delta_t[:, None] * part for x, part in zip(rate_gradient, through_rate, strict=True)]
        return g, rate_gradient

    start = [x[row, channels, :] for x in dlast]
    g, rate_gradient = lax.fori_loop(0, chunks, chunk, (start, [jnp.zeros_like(x) for x in start]))
    for ref, part in zip([*dA, *dh0], [*rate_gradient, *g], strict=True):
        ref[row, channels, :] = part
