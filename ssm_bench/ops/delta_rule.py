"""The delta rule: a matrix memory per head that replaces the value stored under a key, with decay."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ssm_bench.ops.gated_linear_attention import check_heads, decay_between, scan_chunks, weights
from ssm_bench.ops.precision import widened


def delta_rule(
    q: Float[Array, "b l n m"],
    k: Float[Array, "b l n m"],
    v: Float[Array, "b l n d"],
    a: Float[Array, "b l n m"],
    b: Float[Array, "b l n m"],
    log_decay: Float[Array, "b l n #m"],
    *,
    state: Float[Array, "b n m d"] | None = None,
    chunk: int = 0,
) -> tuple[Float[Array, "b l n d"], Float[Array, "b n m d"]]:
    """S_t = (diag(exp(log_decay_t)) + b_t a_t^T) S_{t-1} + k_t v_t^T and y_t = S_t^T q_t, for each head.

    The generalized delta rule: a_t reads what the memory holds, and b_t writes it back under another key. The readings
    u_t = S_{t-1}^T a_t of a chunk solve a unit lower triangular system,

        u_t - sum_{s < t} (a_t . b_s) u_s = S_0^T a_t + sum_{s < t} (a_t . k_s) v_s,

    where all scalar products include the decay in between; then y follows as in `gated_linear_attention`. A scan over
    the chunks carries S, and chunks are recomputed in the backward pass. Products are float32 on every device, since
    the system adds up their errors.

    Args:
        q: queries (b, l, n, m), real, l at least 1.
        k: keys (b, l, n, m).
        v: values (b, l, n, d).
        a: keys of what is read (b, l, n, m).
        b: keys under which it is written back (b, l, n, m).
        log_decay: logarithms of decay factors (b, l, n, m), or (b, l, n, 1) for one per head; not positive.
        state: S before the first position (b, n, m, d); None: zero.
        chunk: positions c of a chunk; the same result for each value. 0: 16, or 32 with one decay per head.

    Returns:
        y (b, l, n, d) in the type of v, and the last S (b, n, m, d), float32 or better. Cost
        O(b l n (c m + c d + m d + c^2 log c)) operations.

    Raises:
        ValueError: shapes or types that do not fit.

    Source: Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length" (arXiv
    2406.06484), section 3; the general form as in Peng et al. 2025, "RWKV-7" (arXiv 2503.14456).
    """
    check_heads(q, k, v, log_decay, chunk, state=state, a=a, b=b)
    chunk = chunk or (32 if log_decay.shape[-1] == 1 else 16)
    dtype = jnp.result_type(jnp.float32, q, k, v, a, b, log_decay)

    def body(S: Array, chunk: Sequence[Array]) -> tuple[Array, Array]:
        q, k, v, a, b, log_decay = chunk
        between = decay_between(log_decay)
        from_start = jnp.exp(jnp.cumsum(log_decay, axis=-2))
        # A reading at t sees the state before t.
        before = jnp.pad(between[..., :-1, :, :], [(0, 0)] * 2 + [(1, 0), (0, 0), (0, 0)])
        until = jnp.concatenate([jnp.ones_like(from_start[..., :1, :]), from_start[..., :-1, :]], -2)
        u = _inverse(weights(a, b, before)) @ ((a * until) @ S + weights(a, k, before) @ v)
        y = (q * from_start) @ S + weights(q, k, between) @ v + weights(q, b, between) @ u
        to_end = between[..., -1, :, :]
        S = jnp.swapaxes(from_start[..., -1:, :], -1, -2) * S
        S = S + jnp.einsum("bnsm,bnsd->bnmd", k * to_end, v) + jnp.einsum("bnsm,bnsd->bnmd", b * to_end, u)
        return S, y

    with jax.default_matmul_precision("highest"):
        y, state = scan_chunks(body, [t.astype(dtype) for t in (q, k, v, a, b, log_decay)], state, chunk)
    return y.astype(v.dtype), state


def _inverse(lower: Array) -> Array:
    """(I - N)^-1 for a strictly lower triangular N (..., c, c), from the inverses of diagonal blocks of 1, 2, 4, ...

    Two inverses A and B next to each other, with the block C of N below the first, give B C A in the place of C.
    (LAPACK can block forever on a CPU, see `solve_systems` in `ssm_bench.ops.dense`; powers of N would lose digits.)
    """
    steps = lower.shape[-1]
    i, j = np.indices((steps, steps))
    inverse = jnp.broadcast_to(jnp.eye(steps, dtype=lower.dtype), lower.shape)
    size = 1
    while size < steps:
        joined = (i // size == j // size + 1) & (i // (2 * size) == j // (2 * size))
        inverse = inverse + inverse @ jnp.where(joined, lower, 0) @ inverse
        size *= 2
    return inverse


def gated_delta_rule(
    q: Float[Array, "b l n m"],
    k: Float[Array, "b l n m"],
    v: Float[Array, "b l n d"],
    beta: Float[Array, "b l n"],
    log_decay: Float[Array, "b l n"],
    *,
    state: Float[Array, "b n m d"] | None = None,
    chunk: int = 0,
) -> tuple[Float[Array, "b l n d"], Float[Array, "b n m d"]]:
    """S_t = g_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T and y_t = S_t^T q_t, with g_t = exp(log_decay_t).

    With keys of length 1 and beta = 1, v_t replaces what was stored under k_t; without decay this is DeltaNet.

    Args:
        q: queries (b, l, n, m), real, l at least 1.
        k: keys (b, l, n, m); S stays bounded if their length is 1 and beta at most 2.
        v: values (b, l, n, d).
        beta: writing strengths (b, l, n), at least 0.
        log_decay: logarithms of decay factors (b, l, n), not positive.
        state: S before the first position (b, n, m, d); None: zero.
        chunk: positions of a chunk, as in `delta_rule`.

    Returns:
        y (b, l, n, d) in the type of v, and the last S (b, n, m, d), float32 or better.

    Raises:
        ValueError: shapes or types that do not fit.

    Source: Yang et al. 2025, "Gated Delta Networks: Improving Mamba2 with Delta Rule" (arXiv 2412.06464).
    """
    for name, array in {"beta": beta, "log_decay": log_decay}.items():
        if array.shape != k.shape[:-1]:
            raise ValueError(f"{name} must have the shape {k.shape[:-1]} to fit k {k.shape}, got {array.shape}")
    beta, log_decay, wide = widened(beta)[..., None], widened(log_decay)[..., None], widened(k)
    return delta_rule(q, beta * wide, v, wide, -beta * jnp.exp(log_decay) * wide, log_decay, state=state, chunk=chunk)


def unit_length(x: Float[Array, "*batch m"]) -> Float[Array, "*batch m"]:
    """x (..., m) divided by its length, in float32 or better; zero stays zero, with finite gradients."""
    x = widened(x)
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6)
