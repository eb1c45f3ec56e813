"""Dense matrices: the linear recurrence x_t = A x_{t-1} + b_t, and linear systems in batches."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Inexact

from ssm_bench.ops.backends import choose_backend
from ssm_bench.ops.recurrence import interleave

# A power is made of powers, and a state of states: half-precision products would lose digits at each level.
_product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def dense_recurrence(
    A: Inexact[Array, "n n"],
    b: Inexact[Array, "b l n"],
    *,
    h0: Inexact[Array, "b n"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Inexact[Array, "b l n"]:
    """Solves x_t = A x_{t-1} + b_t along axis 1, in logarithmic depth on accelerators.

    Cost: O(b l n^2) operations in a loop; twice as many, and O(n^3 log l) for the powers of A, in parallel. States are
    float32 or better whatever the inputs are.

    Args:
        A: the matrix (n, n), constant in time and over the batch; real or complex.
        b: the inputs (b, l, n).
        h0: the state before the first step (b, n); None stands for zero. With `reverse`, the one after the last step.
        reverse: run from the last step to the first: x_t = A x_{t+1} + b_t.
        backend: "associative", matrix products in a parallel scan; "sequential", a loop over time; "auto" chooses by
            platform.

    Returns:
        Every state x (b, l, n).

    Raises:
        UserError: an unknown backend.
        ValueError: shapes that do not fit.

    Gradients are those of autodiff, computed by the recurrence with A transposed, run the other way.
    """
    backend = choose_backend(backend)
    A, b = jnp.asarray(A), jnp.asarray(b)
    if b.ndim != 3 or A.shape != (b.shape[2], b.shape[2]):
        raise ValueError(f"A of shape {A.shape} fits no b of shape {b.shape}: it needs (n, n) for (b, l, n)")
    dtype = jnp.result_type(jnp.float32, A, b, *([] if h0 is None else [h0]))
    A, b = A.astype(dtype), b.astype(dtype)
    if h0 is not None:
        b = b.at[:, -1 if reverse else 0].add(_product(jnp.asarray(h0, dtype), A.T))
    return _solve(A, b, reverse, backend)


def solve_systems(A: Float[Array, "h n n"], b: Float[Array, "h n m"]) -> Float[Array, "h n m"]:
    """Solves A x = b for a batch of systems, by Gauss-Jordan elimination with partial pivoting.

    It equals `jnp.linalg.solve` up to rounding. On CPU the latter calls LAPACK, which divides a batch among the
    threads of the pool that it runs in and waits for them: as soon as several calls of one program, such as those of
    several layers, occupy all threads of the pool, none of them ever ends (JAX 0.10). Elimination consists of array
    operations only.

    Args:
        A: invertible matrices (h, n, n), real.
        b: right-hand sides (h, n, m), real.

    Returns:
        x (h, n, m). Cost O(h n^2 (n + m)) operations in n sequential steps.

    Gradients are those of the solution, computed by solving with A transposed.
    """
    if not A.shape[1]:
        return b
    transposed = jnp.swapaxes(A, 1, 2)
    return lax.custom_linear_solve(
        lambda x: _product(A, x), b, lambda _, b: _eliminate(A, b), lambda _, b: _eliminate(transposed, b)
    )


def _eliminate(A: Array, b: Array) -> Array:
    row = jnp.arange(A.shape[1])

    def column(i: Array, rows: Array) -> Array:
        size = jnp.where(row < i, -1, jnp.abs(rows[:, :, i]))  # of the pivots that are left
        chosen = row == size.argmax(1, keepdims=True)
        pivot = jnp.where(chosen[..., None], rows, 0).sum(1, keepdims=True)
        rows = jnp.where(chosen[..., None], rows[:, i, None], rows)
        pivot = pivot / pivot[:, :, i, None]
        return jnp.where((row == i)[:, None], pivot, rows - rows[:, :, i, None] * pivot)

    return lax.fori_loop(0, len(row), column, jnp.concatenate([A, b], axis=2))[:, :, len(row) :]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _solve(A: Array, b: Array, reverse: bool, backend: str) -> Array:
    """The recurrence from a zero state."""
    if backend == "sequential":
        return _sequential(A, b, reverse)
    return jnp.flip(_doubling(A, jnp.flip(b, axis=1)), axis=1) if reverse else _doubling(A, b)


def _sequential(A: Array, b: Array, reverse: bool) -> Array:
    """A loop over time."""

    def step(x: Array, b_t: Array) -> tuple[Array, Array]:
        x = _product(x, A.T) + b_t
        return x, x

    _, x = lax.scan(step, jnp.zeros_like(b[:, 0]), jnp.moveaxis(b, 1, 0), reverse=reverse)
    return jnp.moveaxis(x, 0, 1)


def _doubling(A: Array, b: Array) -> Array:
    """The parallel scan of `linear_recurrence` for a constant coefficient, with matrix products.

    Steps are taken in pairs, which leaves the same recurrence at half the length with A^2 for A; then the states
    between the pairs are filled in.
    """
    length = b.shape[1]
    if length < 2:
        return b
    pairs = _product(b[:, : length - 1 : 2], A.T) + b[:, 1::2]
    odd = _doubling(_product(A, A), pairs)
    between = _product(odd[:, : (length - 1) // 2], A.T) + b[:, 2::2]
    return interleave(jnp.concatenate([b[:, :1], between], axis=1), odd)


def _solve_forward(A, b, reverse, backend):
    x = _solve(A, b, reverse, backend)
    return x, (A, x)


def _solve_backward(reverse, backend, residuals, gradient):
    """The adjoint: g_t = A^T g_{t+1} + dx_t, then db = g and dA = sum of g_t x_{t-1}^T, nothing conjugated."""
    A, x = residuals
    g: Array = _solve(A.T, gradient, not reverse, backend)
    later, earlier = (g[:, :-1], x[:, 1:]) if reverse else (g[:, 1:], x[:, :-1])
    return jnp.einsum("bti,btj->ij", later, earlier, precision=lax.Precision.HIGHEST), g


_solve.defvjp(_solve_forward, _solve_backward)
