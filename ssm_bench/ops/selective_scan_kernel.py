"""The selective scan as one kernel for NVIDIA GPUs: the states stay in registers and never reach memory.

The reference in `selective_scan` computes the same everywhere.
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

# States of one program, in one warp: eight registers a thread; fewer where this leaves too few programs to fill a GPU.
_STATES = 256
_PROGRAMS = 1024

_LOG2_E = float(np.log2(np.e))


@partial(jax.custom_vjp, nondiff_argnums=(6,))
def fused_scan(
    u: jax.Array, delta: jax.Array, A: jax.Array, B: jax.Array, C: jax.Array, h0: jax.Array, interpret: bool = False
) -> tuple[jax.Array, jax.Array]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t.

    Args:
        u: inputs (b, l, d), float32.
        delta: step sizes (b, l, d), float32.
        A: decay rates (d, n), float32.
        B: input coefficients (b, l, n), float32.
        C: output coefficients (b, l, n), float32.
        h0: the state before the first step (b, d, n), float32.
        interpret: run without a GPU, slowly, for tests.

    Returns:
        y (b, l, d) and the last state (b, d, n). Memory O(b l d + b l d n / 8).

    Differentiable in reverse mode.
    """
    return _forward(u, delta, A, B, C, h0, interpret)[0]


def _forward(u, delta, A, B, C, h0, interpret):
    u, delta, B, C, length = *_filled(u, delta, B, C), u.shape[1]
    (b, l, d), n = u.shape, A.shape[1]
    width = _channels(b, d, n)
    y, boundaries, last = call(
        partial(_forward_kernel, width=width),
        (b, d // width),
        [(b, l, d), (b, l // _CHUNK, d, n), (b, d, n)],
        interpret=interpret,
    )(u, delta, A * _LOG2_E, B, C, h0)
    return (y[:, :length], last), (u, delta, A, B, C, boundaries)


def _backward(interpret, residuals, cotangents):
    u, delta, A, B, C, boundaries = residuals
    dy, dlast = cotangents
    (b, l, d), n, length = u.shape, A.shape[1], dy.shape[1]
    dy = jnp.pad(dy, ((0, 0), (0, l - length), (0, 0)))
    width = _channels(b, d, n)
    blocks = d // width
    du, ddelta, dA, dB, dC, dh0 = call(
        partial(_backward_kernel, width=width),
        (b, blocks),
        [(b, l, d), (b, l, d), (b, d, n), (b, blocks, l, n), (b, blocks, l, n), (b, d, n)],
        interpret=interpret,
    )(u, delta, A * _LOG2_E, B, C, boundaries, dy, dlast)
    # Sums over channels and over the batch cross programs; kept apart and added here they come out the same each time.
    du, ddelta, dB, dC = (x[:, :length] for x in (du, ddelta, dB.sum(1), dC.sum(1)))
    return du, ddelta, dA.sum(0), dB, dC, dh0


fused_scan.defvjp(_forward, _backward)


def _filled(u, delta, B, C):
    """Whole chunks: steps of size zero change no state."""
    fill = -u.shape[1] % _CHUNK
    return (jnp.pad(x, ((0, 0), (0, fill), (0, 0))) for x in (u, delta, B, C))


def _channels(b: int, d: int, n: int) -> int:
    """Channels of one program: a power of two that divides d."""
    wanted = max(1, min(_STATES // n, b * d // _PROGRAMS))
    return min(1 << wanted.bit_length() - 1, d & -d)


def _step(A, h, u, delta, B):
    """The next state (width, n); A comes divided by log 2."""
    return jnp.exp2(delta[:, None] * A) * h + (delta * u)[:, None] * B[None, :]


def _forward_kernel(u, delta, A, B, C, h0, y, boundaries, last, *, width):
    row, channels = pl.program_id(0), pl.ds(pl.program_id(1) * width, width)
    rates = A[channels, :]

    def chunk(i, h):
        boundaries[row, i, channels, :] = h
        times = [i * _CHUNK + k for k in range(_CHUNK)]
        # All loads first, so that they are under way together.
        inputs = [(u[row, t, channels], delta[row, t, channels], B[row, t, :], C[row, t, :]) for t in times]
        for t, (u_t, delta_t, B_t, C_t) in zip(times, inputs, strict=True):
            h = _step(rates, h, u_t, delta_t, B_t)
            y[row, t, channels] = jnp.sum(h * C_t[None, :], axis=1)
        return h

    last[row, channels, :] = lax.fori_loop(0, u.shape[1] // _CHUNK, chunk, h0[row, channels, :])


def _backward_kernel(u, delta, A, B, C, boundaries, dy, dlast, du, ddelta, dA, dB, dC, dh0, *, width):
    row, block = pl.program_id(0), pl.program_id(1)
    channels = pl.ds(block * width, width)
    rates = A[channels, :]
    chunks = u.shape[1] // _CHUNK

    def chunk(i, carry):
        g, rate_gradient = carry
        i = chunks - 1 - i
        times = [i * _CHUNK + k for k in range(_CHUNK)]
        inputs = [(u[row, t, channels], delta[row, t, channels], B[row, t, :]) for t in times]
        states = [boundaries[row, i, channels, :]]
        for u_t, delta_t, B_t in inputs:
            states.append(_step(rates, states[-1], u_t, delta_t, B_t))
        for k in reversed(range(_CHUNK)):
            t, (u_t, delta_t, B_t) = times[k], inputs[k]
            dy_t = dy[row, t, channels]
            g = g + dy_t[:, None] * C[row, t, :][None, :]
            dC[row, block, t, :] = jnp.sum(dy_t[:, None] * states[k + 1], axis=0)
            dB[row, block, t, :] = jnp.sum(g * (delta_t * u_t)[:, None], axis=0)
            through_input = jnp.sum(g * B_t[None, :], axis=1)
            du[row, t, channels] = delta_t * through_input
            # From here on g is the gradient by the state before.
            g = g * jnp.exp2(delta_t[:, None] * rates)
            through_decay = g * states[k]
            ddelta[row, t, channels] = jnp.sum(through_decay * rates, axis=1) / _LOG2_E + u_t * through_input
            rate_gradient = rate_gradient + delta_t[:, None] * through_decay
        return g, rate_gradient

    start = dlast[row, channels, :]
    g, rate_gradient = lax.fori_loop(0, chunks, chunk, (start, jnp.zeros_like(start)))
    dA[row, channels, :] = rate_gradient
    dh0[row, channels, :] = g
