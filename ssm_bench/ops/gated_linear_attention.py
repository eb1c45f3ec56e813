"""Linear attention with decay: a matrix memory per head whose rows decay at rates that depend on the input."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ssm_bench.ops.ssd import in_chunks

# Pairs of positions within a chunk cost one number each where the decay is shared by the key channels, and one number
# per key channel where it is not.
_CHUNK_SHARED, _CHUNK = 64, 16


def gated_linear_attention(
    q: Float[Array, "b l n m"],
    k: Float[Array, "b l n m"],
    v: Float[Array, "b l n d"],
    log_decay: Float[Array, "b l n #m"],
    *,
    state: Float[Array, "b n m d"] | None = None,
    chunk: int = 0,
) -> tuple[Float[Array, "b l n d"], Float[Array, "b n m d"]]:
    """S_t = diag(exp(log_decay_t)) S_{t-1} + k_t v_t^T and y_t = S_t^T q_t, for each head.

    The sequence is cut into chunks. Within a chunk, y is a masked matrix of weights times v, where the weight of
    position s at t is the product of q_t and k_s, channel by channel, times what the decay leaves of it. A scan over
    the chunks carries S. All exponents are sums of log decays, so that nothing overflows; chunks are recomputed in the
    backward pass.

    Args:
        q: queries (b, l, n, m), real, l at least 1.
        k: keys (b, l, n, m).
        v: values (b, l, n, d).
        log_decay: logarithms of decay factors (b, l, n, m), or (b, l, n, 1) for one per head; not positive.
        state: S before the first position (b, n, m, d); None: zero.
        chunk: positions c of a chunk; the same result for each value. 0: 16, or 64 with one decay per head.

    Returns:
        y (b, l, n, d) in the type of v, and the last S (b, n, m, d), float32 or better. Cost O(b l n (c m + c d + m d))
        operations.

    Raises:
        ValueError: shapes or types that do not fit.

    Source: Yang et al. 2024, "Gated Linear Attention Transformers with Hardware-Efficient Training" (arXiv 2312.06635),
    section 4; with one decay per head, Sun et al. 2023, "Retentive Network" (arXiv 2307.08621).
    """
    check_heads(q, k, v, log_decay, chunk, state=state)
    dtype = jnp.result_type(jnp.float32, q, k, v, log_decay)

    def body(S: Array, chunk: Sequence[Array]) -> tuple[Array, Array]:
        q, k, v, log_decay = chunk
        between = decay_between(log_decay)
        from_start = jnp.exp(jnp.cumsum(log_decay, axis=-2))
        y = weights(q, k, between) @ v + (q * from_start) @ S
        S = jnp.swapaxes(from_start[..., -1:, :], -1, -2) * S + jnp.einsum(
            "bnsm,bnsd->bnmd", k * between[..., -1, :, :], v
        )
        return S, y

    y, state = scan_chunks(body, [t.astype(dtype) for t in (q, k, v, log_decay)], state, chunk)
    return y.astype(v.dtype), state


def decay_between(log_decay: Float[Array, "*batch t m"]) -> Float[Array, "*batch t t m"]:
    """What is left at t of what came in at s, (..., t, s, m), from log decays (..., t, m); 0 before s.

    Each sum of logarithms over s < r <= t is computed by itself: a difference of two sums from the start would lose its
    digits after one large decay.
    """
    steps = log_decay.shape[-2]
    t, s = jnp.arange(steps)[:, None, None], jnp.arange(steps)[:, None]
    terms = jnp.where(t > s, log_decay[..., :, None, :], 0)
    return jnp.where(t >= s, jnp.exp(jnp.cumsum(terms, axis=-3)), 0)


def weights(
    q: Float[Array, "b n t m"], k: Float[Array, "b n s m"], between: Float[Array, "b n t s #m"]
) -> Float[Array, "b n t s"]:
    """Scalar products of queries and keys (b, n, t, m) with a decay between them (b, n, t, s, m or 1): (b, n, t, s)."""
    if between.shape[-1] == 1:
        return jnp.einsum("bntm,bnsm->bnts", q, k) * between[..., 0]
    return (q[..., :, None, :] * k[..., None, :, :] * between).sum(-1)


def scan_chunks(
    body: Callable[[Array, Sequence[Array]], tuple[Array, Array]],
    arrays: Sequence[Array],
    state: Array | None,
    chunk: int,
) -> tuple[Array, Array]:
    """Scans over chunks of queries, keys, values, ... and log decays, the last of the arrays, each (b, l, n, ...).

    `body` maps S and the arrays of one chunk (b, n, c, ...) to the next S and y (b, n, c, d). The last chunk is filled
    up with zeros, which must change neither S nor earlier outputs.
    """
    _, k, v, *_, log_decay = arrays
    batch, length, heads, width = v.shape
    chunk = min(length, chunk or (_CHUNK_SHARED if log_decay.shape[-1] == 1 else _CHUNK))
    if state is None:
        state = jnp.zeros((batch, heads, k.shape[-1], width))
    if chunk == length:
        state, y = body(state.astype(v.dtype), [jnp.swapaxes(t, 1, 2) for t in arrays])
        return jnp.swapaxes(y, 1, 2), state
    chunks = [jnp.moveaxis(in_chunks(t, chunk), (0, 1, 2, 3), (1, 0, 3, 2)) for t in arrays]
    state, y = jax.lax.scan(jax.checkpoint(body), state.astype(v.dtype), chunks)
    y = jnp.moveaxis(y, (0, 1, 2, 3), (1, 0, 3, 2))
    return y.reshape(batch, -1, heads, width)[:, :length], state


def check_heads(q, k, v, log_decay, chunk, *, state=None, **like_keys):
    """Checks shapes against k (b, l, n, m) and v (b, l, n, d).

    Raises:
        ValueError: one sentence about the first array that does not fit.
    """
    if chunk < 0:
        raise ValueError(f"chunk must be at least 0, got {chunk}")
    if k.ndim != 4 or k.shape[1] < 1 or not jnp.issubdtype(k.dtype, jnp.floating):
        raise ValueError(f"k must be real (b, l, n, m) with l at least 1, got {k.dtype} of shape {k.shape}")
    if v.ndim != 4 or v.shape[:3] != k.shape[:3]:
        raise ValueError(f"v must be {k.shape[:3]} and d to fit k {k.shape}, got {v.shape}")
    for name, array in {"q": q, **like_keys}.items():
        if array.shape != k.shape:
            raise ValueError(f"{name} must have the shape {k.shape} of k, got {array.shape}")
    if log_decay.shape not in (k.shape, (*k.shape[:3], 1)):
        raise ValueError(f"log_decay must have the shape {k.shape} of k or {(*k.shape[:3], 1)}, got {log_decay.shape}")
    expected = (k.shape[0], *k.shape[2:], v.shape[3])
    if state is not None and state.shape != expected:
        raise ValueError(f"state must have shape {expected} to fit k {k.shape} and v {v.shape}, got {state.shape}")
