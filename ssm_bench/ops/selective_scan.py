"""The selective scan of S6 (Mamba): a diagonal state space model whose coefficients depend on the input."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact

from ssm_bench.ops.backends import FastPath, choose_backend
from ssm_bench.ops.recurrence import linear_recurrence
from ssm_bench.ops.sharding import per_device

# Steps whose states (b, k, d, n) exist at once, or more where these are small. Shorter chunks keep more states between
# chunks for the backward pass, longer ones sweep the states of a chunk more often.
_CHUNK = 16

# Numbers in the states of a chunk that a parallel scan makes at once. A pass over 64 MiB takes an accelerator ten times
# as long as to start it; larger chunks gain little and take memory.
_PARALLEL_STATES = 2**24


def selective_scan(
    u: Float[Array, "b l d"],
    delta: Float[Array, "b l d"],
    A: Inexact[Array, "d n"],
    B: Inexact[Array, "b l *groups n"],
    C: Inexact[Array, "b l *groups n"],
    D: Float[Array, " d"] | None = None,
    *,
    z: Float[Array, "b l d"] | None = None,
    delta_bias: Float[Array, " d"] | None = None,
    B_bias: Inexact[Array, "d n"] | None = None,
    delta_softplus: bool = False,
    h0: Inexact[Array, "b d n"] | None = None,
    return_last_state: bool = False,
    backend: str = "auto",
) -> Float[Array, "b l d"] | tuple[Float[Array, "b l d"], Inexact[Array, "b d n"]]:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t h_t + D u_t, times silu(z_t) if z is given.

    Each of d channels has its own n states. With a complex A they stand for n conjugate pairs: y_t is then
    2 Re(C_t h_t) + D u_t. The states (b, l, d, n) never exist for the whole length: they are made chunk by chunk, and
    made again in the backward pass, which keeps one state for each chunk. States are float32 or better.

    Args:
        u: inputs (b, l, d), real, l at least 1.
        delta: step sizes (b, l, d), real; positive after bias and softplus.
        A: decay rates (d, n), real or complex; with negative real parts the state decays.
        B: input coefficients (b, l, n), shared by the channels, or (b, l, g, n), each shared by d / g neighboring
            channels; real, or complex with a complex A.
        C: output coefficients of the shape of B, likewise.
        D: the gain of the direct path (d,); None leaves it out.
        z: the gate before its SiLU (b, l, d); None leaves it out.
        delta_bias: added to delta (d,), before the softplus.
        B_bias: added to B for each channel (d, n), real, or complex with a complex A.
        delta_softplus: delta passes through a softplus.
        h0: the state before the first step (b, d, n); None stands for zero.
        return_last_state: also return the state after the last step.
        backend: "associative", a parallel scan within each chunk; "sequential", a loop over time, which is faster on
            CPU; "fused", one kernel for NVIDIA GPUs, in single precision, with n a power of two from 4 to 256, one
            group and no B_bias; "auto" chooses by platform and sizes.

    Returns:
        y (b, l, d) in the type of u, and with `return_last_state` the last state (b, d, n). Cost O(b l d n).

    Raises:
        UserError: an unknown backend, or "fused" where it cannot run.
        ValueError: ranks, shapes or types that do not fit.

    Differentiable in reverse mode.
    Source: Mamba (Gu and Dao 2023, arXiv 2312.00752), algorithm 2 and section 3.3, with its simplified rule for B (no
    division by A); B_bias: B2S6 (Yu and Erichson 2025, arXiv 2505.09022), algorithm 2.
    """
    _check_shapes(u, delta, A, B, C, D=D, z=z, delta_bias=delta_bias, B_bias=B_bias, h0=h0)
    real = jnp.result_type(jnp.float32, u.dtype, delta.dtype, jnp.finfo(A.dtype).dtype)
    states = jnp.result_type(real, A, B, C, *(x for x in (B_bias, h0) if x is not None))
    if jnp.issubdtype(states, jnp.complexfloating) and not jnp.iscomplexobj(A):
        raise ValueError("a complex B, B_bias, C or h0 needs a complex A")
    groups, n = B.shape[2] if B.ndim == 4 else 1, A.shape[1]
    path = FastPath(
        operation="selective_scan",
        needs="float32 or complex64 with n a power of two from 4 to 256, B and C (b, l, n) and no B_bias",
        given=f"{states.name} with n = {n}" + ("" if B.ndim == 3 and B_bias is None else ", groups or B_bias"),
        fits=states in (jnp.float32, jnp.complex64)
        and n in {4, 8, 16, 32, 64, 128, 256}
        and B.ndim == 3
        and B_bias is None,
    )
    backend = choose_backend(backend, path)

    batch, length, channels = u.shape
    state = jnp.zeros((batch, *A.shape), states) if h0 is None else h0.astype(states)
    if backend == "fused":
        from ssm_bench.ops.kernels.selective_scan import fused_scan

        D, delta_bias = (jnp.zeros(channels, real) if x is None else x for x in (D, delta_bias))
        # All but A, D and delta_bias belong to the examples.
        batched = (True, True, False, True, True, False, True, False, True)
        scan = per_device(partial(fused_scan, softplus=delta_softplus), batched)
        y, state = scan(u, delta, A.astype(states), B, C, D, z, delta_bias, state)
        return (y, state) if return_last_state else y

    delta = delta.astype(real)
    if delta_bias is not None:
        delta = delta + delta_bias.astype(real)
    if delta_softplus:
        delta = jax.nn.softplus(delta)
    chunk = min(_CHUNK if backend == "sequential" else _parallel_chunk(state.size), length)
    # Channels as (g, d / g): each group has coefficients of its own.
    grouped = (groups, channels // groups)
    A, state = A.reshape(*grouped, n), state.reshape(batch, *grouped, n)
    bias = None if B_bias is None else B_bias.reshape(A.shape)
    inputs = (*(x.reshape(batch, length, *grouped) for x in (delta, delta * u)), *(_by_group(x) for x in (B, C)))
    # Steps of size zero change no state, so the last chunk may be filled up with them.
    chunks = tuple(_split(x, chunk) for x in inputs)
    # The loop already keeps the two forward passes of a chunk apart.
    solve = jax.checkpoint(_loop if backend == "sequential" else _parallel, prevent_cse=False)
    state, y = lax.scan(lambda h, inputs: solve(A, bias, h, *inputs), state, chunks)
    state = state.reshape(batch, channels, n)
    y = jnp.moveaxis(y, 0, 1).reshape(batch, -1, channels)[:, :length]
    if D is not None:
        y = y + D * u
    if z is not None:
        y = y * jax.nn.silu(z.astype(real))
    y = y.astype(u.dtype)
    return (y, state) if return_last_state else y


def _parallel_chunk(states: int) -> int:
    """Steps of a chunk, a power of two, for a number of states of one step."""
    return max(_CHUNK, 2 ** (max(_PARALLEL_STATES // max(states, 1), 1).bit_length() - 1))


def _loop(A, B_bias, h0, delta, delta_u, B, C):
    """One chunk, step by step; the last state (b, g, p, n) and y (b, k, g, p).

    A and B_bias (g, p, n) for p = d / g channels in each group; h0 (b, g, p, n); delta and delta_u (b, k, g, p); B and
    C (b, k, g, n).
    """

    def step(h, inputs):
        delta, delta_u, B, C = inputs
        h = jnp.exp(delta[..., None] * A) * h + delta_u[..., None] * _for_channels(B, B_bias)
        return h, _read("bgpn,bgn->bgp", h, C)

    last, y = lax.scan(step, h0, tuple(jnp.moveaxis(x, 1, 0) for x in (delta, delta_u, B, C)))
    return last, jnp.moveaxis(y, 0, 1)


def _parallel(A, B_bias, h0, delta, delta_u, B, C):
    """The same by a parallel scan over the steps of the chunk."""
    inputs = delta_u[..., None] * _for_channels(B, B_bias)
    h = linear_recurrence(jnp.exp(delta[..., None] * A), inputs, h0=h0, backend="associative")
    return h[:, -1], _read("bkgpn,bkgn->bkgp", h, C)


def _for_channels(B, B_bias):
    """B (..., g, n) for the channels of each group: (..., g, 1, n), or with a bias (..., g, p, n)."""
    return B[..., None, :] if B_bias is None else B[..., None, :] + B_bias


def _read(subscripts, h, C):
    """C h, or its sum with the conjugate."""
    y = jnp.einsum(subscripts, h, C.astype(h.dtype), precision=lax.Precision.HIGHEST)
    return 2 * jnp.real(y) if jnp.iscomplexobj(y) else y


def _by_group(x: Array) -> Array:
    """(b, l, n) or (b, l, g, n) as (b, l, g, n)."""
    return x if x.ndim == 4 else x[:, :, None]


def _split(x: Array, chunk: int) -> Array:
    """(b, l, ...) as (chunks, b, chunk, ...), filled up with zeros."""
    x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % chunk), *[(0, 0)] * (x.ndim - 2)])
    return jnp.moveaxis(x.reshape((x.shape[0], -1, chunk, *x.shape[2:])), 1, 0)


def _check_shapes(u, delta, A, B, C, **optional):
    """One sentence for the first array that does not fit u (b, l, d) and A (d, n)."""
    if u.ndim != 3 or u.shape[1] < 1 or not jnp.issubdtype(u.dtype, jnp.floating):
        raise ValueError(f"u must be real (b, l, d) with l at least 1, got {u.dtype} of shape {u.shape}")
    batch, length, channels = u.shape
    if A.ndim != 2 or A.shape[0] != channels or not jnp.issubdtype(A.dtype, jnp.inexact):
        raise ValueError(f"A must be (d, n) with d = {channels} as in u, real or complex, got {A.dtype} {A.shape}")
    groups = B.shape[2:3] if B.ndim == 4 else ()
    if groups and (groups[0] < 1 or channels % groups[0]):
        raise ValueError(f"the groups of B must divide the {channels} channels of u, got {groups[0]}")
    sequence, projection = (batch, length, channels), (batch, length, *groups, A.shape[1])
    expected = {"z": sequence, "D": (channels,), "delta_bias": (channels,), "h0": (batch, *A.shape), "B_bias": A.shape}
    arrays = {"delta": (delta, sequence), "B": (B, projection), "C": (C, projection)}
    arrays |= {name: (array, expected[name]) for name, array in optional.items() if array is not None}
    for name, (array, shape) in arrays.items():
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape} to fit u {u.shape} and A {A.shape}, got {array.shape}")
        if jnp.iscomplexobj(array) and name not in ("B", "B_bias", "C", "h0"):
            raise ValueError(f"{name} must be real, got {array.dtype}")
