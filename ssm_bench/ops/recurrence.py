"""The linear recurrence h_t = a_t h_{t-1} + b_t, the operation all state space models share."""

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from ssm_bench.ops.backends import FastPath, choose_backend
from ssm_bench.ops.sharding import per_device, sequence_devices


def linear_recurrence(
    a: Inexact[Array, "..."] | None,
    b: Inexact[Array, "b l *state"],
    *,
    log_a: Inexact[Array, "*#state"] | None = None,
    h0: Inexact[Array, "#b *#state"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Inexact[Array, "b l *state"]:
    """Solves h_t = a_t h_{t-1} + b_t along axis 1, in logarithmic depth on accelerators.

    The rank of `a` says what it is. With the rank of `b` it varies in time; with two axes fewer it is constant in
    time and over the batch, and stands for the trailing axes of `b`. Real and complex arrays may be mixed. The state
    is kept in float32 or better whatever the inputs are: in bfloat16 a decay above 0.996 cannot even be written.

    With `log_a` a power a^(2^j) is exp(2^j log_a), and the doubling is exact: at |a| = 0.9999 and l = 16384 the
    "associative" backend is then right to 1e-6, where powers of a rounded `a` are right to 1e-4 only.

    Args:
        a: time-varying (b or 1, l, ...) or constant (...), each trailing axis as in `b` or 1; None if `log_a` is given.
        b: the inputs (b, l, ...).
        log_a: the logarithm of a constant `a`, in its place: with both given, values and gradients use `log_a`.
        h0: the state before the first step (b, ...); None stands for zero. With `reverse`, the one after the last step.
        reverse: run from the last step to the first: h_t = a_t h_{t+1} + b_t.
        backend: "associative", a parallel scan; "sequential", a loop over time, which is faster on CPU; "fused", one
            kernel for NVIDIA GPUs, as exact as the loop, for float32 and complex64; "auto" chooses by platform, and the
            kernel for real coefficients that vary in time and from state to state.

    Returns:
        Every state h (b, l, ...).

    Raises:
        UserError: an unknown backend, or "fused" where it cannot run.
        ValueError: shapes that do not fit.

    Inside `divided` with a mesh that has the axis SEQUENCE_AXIS (`ssm_bench.ops.sharding`), time is divided among its
    devices, which exchange their states (`ssm_bench.ops.sequence_parallel`).

    Gradients are those of autodiff, computed by the recurrence run the other way (reverse mode only).
    Source: Blelloch 1990, "Prefix sums and their applications"; for the adjoint, Martin and Cundy 2018
    (arXiv 1709.04057).
    """
    coefficient, logarithmic = (a, False) if log_a is None else (log_a, True)
    if coefficient is None:
        raise ValueError("linear_recurrence needs a or log_a")
    coefficient, b = jnp.asarray(coefficient), jnp.asarray(b)
    constant = coefficient.ndim == b.ndim - 2
    if b.ndim < 2 or not (constant or coefficient.ndim == b.ndim) or (logarithmic and not constant):
        raise ValueError(
            f"a of shape {coefficient.shape} fits no b of shape {b.shape}: it needs the rank of b, or two axes fewer"
            + (" (log_a: always two fewer)" if logarithmic else "")
        )

    if b.shape[1] < 1:
        raise ValueError(f"b must have at least one step, got the shape {b.shape}")
    if not constant and coefficient.shape[1] != b.shape[1]:
        raise ValueError(f"a has {coefficient.shape[1]} steps, b has {b.shape[1]}")
    _check_shape("a" if log_a is None else "log_a", coefficient, b.shape[2:] if constant else b.shape)
    if h0 is not None:
        _check_shape("h0", h0, (len(b), *b.shape[2:]))

    given = [coefficient, b] if h0 is None else [coefficient, b, h0]
    dtype = jnp.result_type(jnp.float32, *given)
    if sequence_devices() > 1:
        from ssm_bench.ops.sequence_parallel import divided_recurrence

        state = jnp.zeros_like(b[:, 0]) if h0 is None else jnp.broadcast_to(h0, (len(b), *b.shape[2:]))
        coefficient = jnp.broadcast_to(coefficient, b.shape[2:] if constant else b.shape)
        options = {"logarithmic": logarithmic, "reverse": reverse, "backend": backend}
        return divided_recurrence(coefficient.astype(dtype), b.astype(dtype), state.astype(dtype), **options)
    path = FastPath(
        operation="linear_recurrence",
        needs="float32 or complex64",
        given=dtype.name,
        fits=dtype in (jnp.float32, jnp.complex64),
        # For a constant the parallel scan is as fast and keeps more digits; where `a` is one number for many states,
        # the kernel would read it for each.
        worth=coefficient.shape == b.shape and dtype == jnp.float32 and prod(b.shape[2:]) % 8 == 0,
    )
    backend = choose_backend(backend, path)
    shape = (1, 1, *b.shape[2:]) if constant else b.shape
    coefficient = coefficient.reshape((1, 1, *coefficient.shape)) if constant else coefficient
    coefficient = jnp.broadcast_to(coefficient, shape).astype(dtype)
    b = b.astype(dtype)
    if backend == "fused":
        h0 = jnp.zeros_like(b[:, 0]) if h0 is None else jnp.broadcast_to(h0, (len(b), *b.shape[2:])).astype(dtype)
        coefficient = coefficient[0, 0] if constant else coefficient
        return _fused(coefficient, b, h0, logarithmic=logarithmic, reverse=reverse)
    if h0 is not None:
        first = -1 if reverse else 0
        a_first = coefficient[:, first]
        a_first = jnp.exp(a_first) if logarithmic else a_first
        b = b.at[:, first].add(a_first * h0.astype(dtype))
    return _traced_once(coefficient, b, constant, logarithmic, reverse, backend)


def _check_shape(name: str, array: Array, full: tuple[int, ...]) -> None:
    """Along each axis, counted from the last, an array has the full size, or 1."""
    axes = zip(reversed(array.shape), reversed(full), strict=False)
    if array.ndim > len(full) or any(size not in (1, most) for size, most in axes):
        raise ValueError(f"{name} must be {full}, or 1 along some axes, to fit b; got the shape {array.shape}")


@partial(jax.jit, static_argnames=("logarithmic", "reverse"))
def _fused(a: Array, b: Array, h0: Array, *, logarithmic: bool, reverse: bool) -> Array:
    from ssm_bench.ops.kernels.recurrence import fused_recurrence

    fused = partial(fused_recurrence, logarithmic=logarithmic, reverse=reverse)
    return per_device(fused, (a.ndim == b.ndim, True, True))(a, b, h0)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _solve(a: Array, b: Array, constant: bool, logarithmic: bool, reverse: bool, backend: str) -> Array:
    """The recurrence from a zero state; `a` (1, 1, ...) or like `b`, or its logarithm."""
    if backend == "sequential":
        return _sequential(jnp.exp(a) if logarithmic else a, b, constant, reverse)
    flip = partial(jnp.flip, axis=1) if reverse else lambda x: x
    if constant:
        return flip(_doubling(a, flip(b), logarithmic))

    def compose(first, second):
        return second[0] * first[0], second[0] * first[1] + second[1]

    return lax.associative_scan(compose, (a, b), reverse=reverse, axis=1)[1]


def _sequential(a: Array, b: Array, constant: bool, reverse: bool) -> Array:
    """A loop over time."""

    def step(h, inputs):
        a_t, b_t = (a[:, 0], inputs) if constant else inputs
        h = a_t * h + b_t
        return h, h

    inputs = jnp.moveaxis(b, 1, 0)
    inputs = inputs if constant else (jnp.moveaxis(a, 1, 0), inputs)
    _, h = lax.scan(step, jnp.zeros_like(b[:, 0]), inputs, reverse=reverse)
    return jnp.moveaxis(h, 0, 1)


def _doubling(a: Array, b: Array, logarithmic: bool) -> Array:
    """The parallel scan for a constant `a`: one multiplier a^(2^j) serves all of level j.

    Steps are taken in pairs, which leaves the same recurrence at half the length with a^2 for a; then the states
    between the pairs are filled in.
    """
    length = b.shape[1]
    if length < 2:
        return b
    multiplier = jnp.exp(a) if logarithmic else a
    pairs = multiplier * b[:, : length - 1 : 2] + b[:, 1::2]
    odd = _doubling(2 * a if logarithmic else a * a, pairs, logarithmic)
    between = multiplier * odd[:, : (length - 1) // 2] + b[:, 2::2]
    even = jnp.concatenate([b[:, :1], between], axis=1)
    return interleave(even, odd)


def interleave(even: Inexact[Array, "b m *state"], odd: Inexact[Array, "b k *state"]) -> Inexact[Array, "b l *state"]:
    """even_0, odd_0, even_1, ... along axis 1; padding and adding, because XLA fuses that into its neighbors."""
    short = even.shape[1] - odd.shape[1]
    zero = jnp.zeros((), even.dtype)

    def spread(x, low, high):
        return lax.pad(x, zero, [(low, high, 1) if axis == 1 else (0, 0, 0) for axis in range(x.ndim)])

    return spread(even, 0, 1 - short) + spread(odd, 1, short)


def _solve_forward(a, b, constant, logarithmic, reverse, backend):
    h = _solve(a, b, constant, logarithmic, reverse, backend)
    return h, (a, h)


def _solve_backward(constant, logarithmic, reverse, backend, residuals, gradient):
    """The adjoint: g_t = a_{t+1} g_{t+1} + dh_t, then db = g and da_t = g_t h_{t-1}.

    JAX's complex cotangents are those of a holomorphic function: nothing is conjugated.
    """
    a, h = residuals
    # The coefficient after the last step meets a zero state, so any value serves.
    shifted = a if constant else jnp.roll(a, 1 if reverse else -1, axis=1)
    g: Array = _solve(shifted, gradient, constant, logarithmic, not reverse, backend)
    if reverse:
        before = jnp.concatenate([h[:, 1:], jnp.zeros_like(h[:, :1])], axis=1)
    else:
        before = jnp.concatenate([jnp.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
    grad_a = g * before
    if constant:
        grad_a = jnp.sum(grad_a, axis=(0, 1), keepdims=True)
    if logarithmic:
        grad_a = grad_a * jnp.exp(a)
    return grad_a, g


_solve.defvjp(_solve_forward, _solve_backward)

# For all layers of a size.
_traced_once = jax.jit(_solve, static_argnums=(2, 3, 4, 5))
