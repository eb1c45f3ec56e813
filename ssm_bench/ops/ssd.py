"""The scan of Mamba-2 (state space duality): a selective scan whose decay is one number a head, as matrix products."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ssm_bench.ops.recurrence import linear_recurrence


def ssd(
    x: Float[Array, "b l heads p"],
    delta: Float[Array, "b l heads"],
    A: Float[Array, " heads"],
    B: Float[Array, "b l n"],
    C: Float[Array, "b l n"],
    D: Float[Array, " heads"] | None = None,
    *,
    chunk: int = 64,
    h0: Float[Array, "b heads p n"] | None = None,
    return_last_state: bool = False,
) -> Float[Array, "b l heads p"] | tuple[Float[Array, "b l heads p"], Float[Array, "b heads p n"]]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t x_t B_t^T and y_t = h_t C_t + D x_t, for each head alone.

    The state of a head is a matrix (p, n) that decays as a whole. So the sequence is cut into chunks: within one, y is
    a masked (k, k) matrix times x, like attention without its softmax; from chunk to chunk runs a linear recurrence.
    It equals `selective_scan` with the A of a head repeated for its channels and states.

    Args:
        x: inputs (b, l, heads, p), real, l at least 1.
        delta: step sizes (b, l, heads), not negative.
        A: decay rates (heads,); negative ones decay.
        B: input coefficients (b, l, n), shared by the heads.
        C: output coefficients (b, l, n), likewise.
        D: the gain of the direct path (heads,); None leaves it out.
        chunk: steps k of a chunk; the same result for each value, at least 1.
        h0: the state before the first step (b, heads, p, n); None stands for zero.
        return_last_state: also return the state after the last step.

    Returns:
        y (b, l, heads, p) in the type of x, and with `return_last_state` the last state (b, heads, p, n), float32 or
        better. Cost O(b l (k n + heads (k p + p n))), memory O(b l heads (k + p n / k)).

    Raises:
        ValueError: shapes or types that do not fit.

    Source: Mamba-2 (Dao and Gu 2024, arXiv 2405.21060), sections 6 and 7.
    """
    _check_shapes(x, delta, A, B, C, chunk, D=D, h0=h0)
    dtype = jnp.result_type(jnp.float32, x, delta, A)
    batch, length, heads, width = x.shape
    # Steps of size zero change no state, so the last chunk may be filled up with them.
    u, delta, B, C = (in_chunks(s.astype(dtype), min(chunk, length)) for s in (x, delta, B, C))
    u = delta[..., None] * u
    log_decay = delta * A.astype(dtype)

    between = _decay_between(log_decay)
    within = jnp.einsum("bctn,bcsn->bcts", C, B)[:, :, None] * between
    y = jnp.einsum("bchts,bcshp->bcthp", within, u)

    added = jnp.einsum("bchs,bcshp,bcsn->bchpn", between[..., -1, :], u, B)
    kept = jnp.exp(log_decay.sum(2))[..., None, None]
    first = jnp.zeros(added[:, 0].shape, dtype) if h0 is None else h0.astype(dtype)
    after = linear_recurrence(kept, added, h0=first)
    before = jnp.concatenate([first[:, None], after[:, :-1]], axis=1)
    since_start = jnp.exp(jnp.cumsum(log_decay, axis=2))
    y = y + jnp.einsum("bchpn,bctn->bcthp", before, C) * since_start[..., None]

    y = y.reshape(batch, -1, heads, width)[:, :length]
    if D is not None:
        y = y + D[:, None] * x
    y = y.astype(x.dtype)
    return (y, after[:, -1]) if return_last_state else y


def _decay_between(log_decay: Array) -> Array:
    """What is left at t of what came in at s, (b, c, heads, t, s), from log decays (b, c, k, heads); 0 before s.

    Each sum of logarithms over s < r <= t is made by itself: as a difference of two sums from the start it would lose
    its digits after one large decay.
    """
    steps = log_decay.shape[2]
    t, s = jnp.arange(steps)[:, None], jnp.arange(steps)
    terms = jnp.where(t > s, jnp.swapaxes(log_decay, 2, 3)[..., None], 0)
    return jnp.where(t >= s, jnp.exp(jnp.cumsum(terms, axis=-2)), 0)


def in_chunks(x: Float[Array, "b l *shape"], chunk: int) -> Float[Array, "b chunks {chunk} *shape"]:
    """(b, l, ...) as (b, chunks, chunk, ...), filled up with zeros."""
    x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % chunk), *[(0, 0)] * (x.ndim - 2)])
    return x.reshape(x.shape[0], -1, chunk, *x.shape[2:])


def _check_shapes(x, delta, A, B, C, chunk, **optional):
    """One sentence for the first array that does not fit x (b, l, heads, p) and B (b, l, n)."""
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    if x.ndim != 4 or x.shape[1] < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be real (b, l, heads, p) with l at least 1, got {x.dtype} of shape {x.shape}")
    batch, length, heads, width = x.shape
    if B.ndim != 3 or B.shape[:2] != (batch, length):
        raise ValueError(f"B must be ({batch}, {length}, n) to fit x {x.shape}, got {B.shape}")
    state = (batch, heads, width, B.shape[2])
    expected = {"delta": (delta, (batch, length, heads)), "A": (A, (heads,)), "C": (C, B.shape)}
    expected |= {
        name: (array, {"D": (heads,), "h0": state}[name]) for name, array in optional.items() if array is not None
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape} to fit x {x.shape} and B {B.shape}, got {array.shape}")
