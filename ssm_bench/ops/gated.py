"""The gated recurrent networks: GRU and LSTM, one step after the other."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Steps in one turn of the loop on accelerators, where a turn waits for its kernels to be launched. On CPU they only
# take longer to compile.
UNROLL = 8


def _scan(step: Callable, start: Any, gates: Array) -> tuple[Any, Array]:
    """Runs `step` over the time axis of gates (b, l, w); the last state and every output (b, l, n).

    Gates in half precision stay so in memory: they are widened in the step, where they meet the state.
    """
    unroll = 1 if jax.default_backend() == "cpu" else UNROLL
    last, h = lax.scan(step, start, jnp.moveaxis(gates, 1, 0), unroll=unroll)
    return last, jnp.moveaxis(h, 0, 1)


def gru(
    gates: Float[Array, "b l gates"],
    recurrent: Float[Array, "n gates"],
    bias: Float[Array, " n"],
    h0: Float[Array, "b n"],
) -> Float[Array, "b l n"]:
    """h_t = (1 - z_t) c_t + z_t h_{t-1} with c_t = tanh(x^c_t + r_t (U_c h_{t-1} + bias)).

    The gates are r_t = sigmoid(x^r_t + U_r h_{t-1}) and z_t = sigmoid(x^z_t + U_z h_{t-1}). The state is kept in
    float32 or better. Cost: O(b l n^2), l steps deep.

    Args:
        gates: what the inputs give to reset, update and candidate, x^r, x^z and x^c: (b, l, 3n), with their biases.
        recurrent: U for the three, transposed: (n, 3n).
        bias: of the candidate's recurrent part (n,).
        h0: the state before the first step (b, n).

    Returns:
        Every state (b, l, n).

    Source: Cho et al. 2014 (arXiv 1406.1078), with the reset gate after the product, as in cuDNN: one matrix product
    a step.
    """
    dtype = jnp.result_type(jnp.float32, gates, h0)
    n = h0.shape[-1]

    def step(h: Array, x: Array) -> tuple[Array, Array]:
        u = h @ recurrent
        r = jax.nn.sigmoid(x[:, :n] + u[:, :n])
        z = jax.nn.sigmoid(x[:, n : 2 * n] + u[:, n : 2 * n])
        c = jnp.tanh(x[:, 2 * n :] + r * (u[:, 2 * n :] + bias))
        h = (1 - z) * c + z * h
        return h, h

    return _scan(step, h0.astype(dtype), gates)[1]


def lstm(
    gates: Float[Array, "b l gates"],
    recurrent: Float[Array, "n gates"],
    h0: Float[Array, "b n"],
    c0: Float[Array, "b n"],
) -> tuple[Float[Array, "b l n"], tuple[Float[Array, "b n"], Float[Array, "b n"]]]:
    """c_t = f_t c_{t-1} + i_t g_t and h_t = o_t tanh(c_t).

    The gates are i_t, f_t, o_t = sigmoid(x_t + U h_{t-1}) and g_t = tanh(x_t + U h_{t-1}), each with its own x and U.
    The state is kept in float32 or better. Cost: O(b l n^2), l steps deep.

    Args:
        gates: what the inputs give to i, f, g and o: (b, l, 4n), with their biases.
        recurrent: U for the four, transposed: (n, 4n).
        h0: the output before the first step (b, n).
        c0: the cell before the first step (b, n).

    Returns:
        Every output h (b, l, n), and the last h and c.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000.
    """
    dtype = jnp.result_type(jnp.float32, gates, h0)

    def step(state: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], Array]:
        h, c = state
        i, f, g, o = jnp.split(x + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    last, h = _scan(step, (h0.astype(dtype), c0.astype(dtype)), gates)
    return h, last
