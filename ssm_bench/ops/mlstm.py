"""The mLSTM: a matrix memory per head with an exponential input gate and a normalizer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssm_bench.ops.gated_linear_attention import gated_linear_attention
from ssm_bench.ops.precision import widened


class MatrixMemory(NamedTuple):
    """What the mLSTM keeps of the positions so far; exp(log_scale) times the sums is the state of the paper.

    Attributes:
        sums: C, and the normalizer n as a last column (b, n, m, d + 1).
        log_scale: the stabilizer (b, n).
    """

    sums: Float[Array, "b n m d+1"]
    log_scale: Float[Array, "b n"]


def mlstm(
    q: Float[Array, "b l n m"],
    k: Float[Array, "b l n m"],
    v: Float[Array, "b l n d"],
    input_gate: Float[Array, "b l n"],
    forget_gate: Float[Array, "b l n"],
    state: MatrixMemory | None = None,
    *,
    chunk: int = 0,
) -> tuple[Float[Array, "b l n d"], MatrixMemory]:
    """C_t = f_t C_{t-1} + i_t k_t v_t^T, n_t = f_t n_{t-1} + i_t k_t and y_t = C_t^T q_t / max(|n_t . q_t|, 1).

    i = exp(input_gate) and f = sigmoid(forget_gate). The stabilizer m_t = max(log f_t + m_{t-1}, input_gate_t) keeps
    C exp(-m) and n exp(-m) in range: what remains is `gated_linear_attention` with values of one more channel, 1. The
    output does not depend on m, so that m has no gradient.

    Args:
        q: queries (b, l, n, m), real, l at least 1.
        k: keys (b, l, n, m).
        v: values (b, l, n, d).
        input_gate: the logarithm of i (b, l, n).
        forget_gate: f before its sigmoid (b, l, n).
        state: what was before the first position; None: nothing.
        chunk: positions of a chunk, as in `gated_linear_attention`.

    Returns:
        y (b, l, n, d) in the type of v, and the state after the last position, float32 or better.

    Raises:
        ValueError: shapes or types that do not fit.

    Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory" (arXiv 2405.04517), section 2.3.
    """
    for name, array in {"input_gate": input_gate, "forget_gate": forget_gate}.items():
        if array.shape != k.shape[:-1]:
            raise ValueError(f"{name} must have the shape {k.shape[:-1]} to fit k {k.shape}, got {array.shape}")
    dtype = jnp.result_type(jnp.float32, q, k, v, input_gate, forget_gate)
    log_i, log_f = input_gate.astype(dtype), jax.nn.log_sigmoid(forget_gate.astype(dtype))
    before = jnp.zeros_like(log_f[:, 0]) if state is None else state.log_scale.astype(dtype)
    m = jax.lax.stop_gradient(_stabilizer(log_i, log_f, before))
    log_decay = log_f + jnp.concatenate([before[:, None], m[:, :-1]], 1) - m
    sums, last = gated_linear_attention(
        q,
        k.astype(dtype) * jnp.exp(log_i - m)[..., None],
        jnp.concatenate([widened(v), jnp.ones_like(widened(v[..., :1]))], -1),
        log_decay[..., None],
        state=None if state is None else state.sums,
        chunk=chunk,
    )
    y = sums[..., :-1] / jnp.maximum(jnp.abs(sums[..., -1:]), jnp.exp(-m)[..., None])
    return y.astype(v.dtype), MatrixMemory(last, m[:, -1])


def _stabilizer(log_i: Array, log_f: Array, before: Array) -> Array:
    """m_t = max(log_f_t + m_{t-1}, log_i_t) (b, l, n), by a scan over pairs (decay, maximum)."""

    def joined(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] + second[0], jnp.maximum(first[1] + second[0], second[1])

    decay, largest = jax.lax.associative_scan(joined, (log_f, log_i), axis=1)
    return jnp.maximum(decay + before[:, None], largest)
