"""Diagonal state space models with many inputs and outputs (MIMO): what S5 and the LRU compute."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from ssm_bench.ops.backends import FastPath, choose_backend
from ssm_bench.ops.precision import widened
from ssm_bench.ops.recurrence import linear_recurrence
from ssm_bench.ops.sharding import per_device, sequence_devices


def diagonal_ssm(
    u: Float[Array, "b l h"],
    log_a: Complex[Array, " p"],
    B: Complex[Array, "p h"],
    C: Complex[Array, "*directions h p"],
    *,
    backend: str = "auto",
) -> Float[Array, "b l h"]:
    """y_t = Re(C x_t) with x_t = a x_{t-1} + B u_t, for a diagonal a shared by all channels.

    With two output matrices the model is bidirectional: the second reads the same recurrence run from the end,
    x_t = a x_{t+1} + B u_t, so that both see the present step.

    Args:
        u: inputs (b, l, h), real; bfloat16 inputs keep a float32 state.
        log_a: logarithm of the p eigenvalues (p,), complex.
        B: input matrix (p, h), complex.
        C: output matrix (h, p), complex; or (2, h, p), forward and backward.
        backend: see `linear_recurrence`; "fused" runs both directions at once, and is what "auto" takes on
            NVIDIA GPUs.

    Returns:
        (b, l, h) in the type of u. Cost O(b l h p).

    Raises:
        UserError: an unknown backend, or "fused" where it cannot run.
        ValueError: another number of output matrices.
    """
    if C.ndim == 3 and len(C) != 2:
        raise ValueError(f"C of shape {C.shape} holds one output matrix (h, p) or two (2, h, p)")
    path = FastPath(
        operation="diagonal_ssm",
        needs="float32 or bfloat16 inputs with complex64 eigenvalues",
        given=f"{u.dtype.name} with {log_a.dtype.name}",
        fits=log_a.dtype == jnp.complex64 and u.dtype in (jnp.float32, jnp.bfloat16),
        # A warp is too wide for states that come in ones and twos; the kernel reads whole sequences.
        worth=len(log_a) % 4 == 0 and sequence_devices() == 1,
    )
    backend = choose_backend(backend, path)
    if backend == "fused":
        return _fused(u, log_a, B, C)
    inputs = _apply_input(u, B)
    if C.ndim == 2:
        return _apply_output(linear_recurrence(None, inputs, log_a=log_a, backend=backend), C, u.dtype)
    x = [linear_recurrence(None, inputs, log_a=log_a, reverse=reverse, backend=backend) for reverse in (False, True)]
    return _apply_output(jnp.concatenate(x, axis=-1), jnp.concatenate([C[0], C[1]], axis=-1), u.dtype)


# Traced once for all layers of a size.
@partial(jax.jit, static_argnames="interpret")
def _fused(u: Array, log_a: Array, B: Array, C: Array, *, interpret: bool = False) -> Array:
    """`diagonal_ssm` with its states from the kernel."""
    from ssm_bench.ops.kernels.diagonal_scan import fused_states

    return with_states(partial(fused_states, interpret=interpret), u, log_a, B, C)


def with_states(states: Callable[..., Array], u: Array, log_a: Array, B: Array, C: Array) -> Array:
    """`diagonal_ssm` with its states from a function with the arguments of `fused_states`."""
    C = C[None] if C.ndim == 2 else C
    x = per_device(partial(states, directions=len(C)), (True, False))(_input_pairs(u, B), log_a)
    matrix = jnp.concatenate([part for each in C for part in (jnp.real(each), -jnp.imag(each))], axis=-1)
    return _product(x, matrix)


def diagonal_ssm_extend(
    u: Float[Array, "b k h"],
    state: Complex[Array, "b p"],
    log_a: Complex[Array, " p"],
    B: Complex[Array, "p h"],
    C: Complex[Array, "h p"],
    *,
    backend: str = "auto",
) -> tuple[Float[Array, "b k h"], Complex[Array, "b p"]]:
    """Continues `diagonal_ssm`: a chunk u (b, k, h) and the state before it (b, p) give y and the state after it."""
    x = linear_recurrence(None, _apply_input(u, B), log_a=log_a, h0=state, backend=backend)
    return _apply_output(x, C, u.dtype), x[:, -1]


def diagonal_ssm_step(
    u_t: Float[Array, "b h"],
    state: Complex[Array, "b p"],
    log_a: Complex[Array, " p"],
    B: Complex[Array, "p h"],
    C: Complex[Array, "h p"],
) -> tuple[Float[Array, "b h"], Complex[Array, "b p"]]:
    """One step of `diagonal_ssm`: u_t (b, h) and the state (b, p) give y_t (b, h) and the next state."""
    state = jnp.exp(log_a)[None] * state + _apply_input(u_t, B)
    return _apply_output(state, C, u_t.dtype), state


# A complex matrix times a real vector, or the real part of a complex product, is one real matrix product: half the
# work of the complex one.


def _input_pairs(u: Array, B: Array) -> Array:
    """B u, real parts and then imaginary ones (..., 2 p), in the type of u."""
    return _product(u, jnp.concatenate([jnp.real(B), jnp.imag(B)]))


def _apply_input(u: Array, B: Array) -> Array:
    """B u as complex numbers (..., p)."""
    pairs, states = widened(_input_pairs(u, B)), B.shape[0]
    return jax.lax.complex(pairs[..., :states], pairs[..., states:])


def _apply_output(x: Array, C: Array, dtype: jnp.dtype) -> Array:
    """Re(C x) of that type."""
    pairs = jnp.concatenate([jnp.real(x), jnp.imag(x)], axis=-1).astype(dtype)
    return _product(pairs, jnp.concatenate([jnp.real(C), -jnp.imag(C)], axis=-1))


def _product(pairs: Array, matrix: Array) -> Array:
    """(..., p) by (h, p), all in the type of the first: results rounded once, so that gradients are as narrow."""
    return jnp.einsum("...p,hp->...h", pairs, matrix.astype(pairs.dtype))
