"""Which backend of an operation runs: the one that was asked for, or the best for platform and arrays."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple

import jax

from ssm_bench.errors import UserError, unknown_name
from ssm_bench.ops.kernels.gpu import kernels_run

BACKENDS = ("auto", "associative", "sequential")
WITH_FUSED = (*BACKENDS, "fused")

#: What "auto" stands for: itself, but inside `use_backend`.
_automatic: ContextVar[str] = ContextVar("backend", default="auto")


class Kernel(NamedTuple):
    """The kernel behind the "fused" backend of an operation, and the arrays at hand.

    Attributes:
        operation: whose kernel it is.
        needs: what it takes, beside an NVIDIA GPU, in words.
        given: the same of these arrays, in words.
        fits: whether that is what it takes.
        worth: whether it is then the best, so that "auto" takes it.
    """

    operation: str
    needs: str
    given: str
    fits: bool
    worth: bool = True


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Inside, "auto" means this backend, one of those that every operation has: for comparisons.

    A program is bound to its backends when it is traced: one that was traced before keeps its own, and
    `jax.clear_caches()` forgets it.

    Raises:
        UserError: an unknown backend.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    token = _automatic.set(backend)
    try:
        yield
    finally:
        _automatic.reset(token)


def choose_backend(backend: str, kernel: Kernel | None = None) -> str:
    """The backend that runs: "associative", "sequential", or "fused" where the operation has a kernel.

    "auto" is what `use_backend` around it says. Else it is the kernel where that runs, fits and is worth it; the loop
    on CPU; and the parallel scan elsewhere. Its choice is logged, once for every operation and kind of arrays.

    Raises:
        UserError: an unknown backend, or "fused" where the kernel cannot run.
    """
    allowed = WITH_FUSED if kernel else BACKENDS
    if backend == "auto":
        backend = _automatic.get()
    if backend not in allowed:
        raise unknown_name("backend", backend, allowed)
    if backend in ("associative", "sequential"):
        return backend
    platform = jax.default_backend()
    runs = kernel is not None and kernel.fits and kernels_run()
    if kernel and backend == "fused" and not runs:
        raise UserError(f'backend "fused" needs an NVIDIA GPU and {kernel.needs}; got {platform} and {kernel.given}')
    if kernel and runs and (backend == "fused" or kernel.worth):
        chosen = "fused"
    else:
        chosen = "sequential" if platform == "cpu" else "associative"
    if kernel and backend == "auto":
        _say(f'{kernel.operation}: backend "{chosen}" on {platform} for {kernel.given}')
    return chosen


def takes_kernel(operation: str, *, fits: bool) -> bool:
    """Whether an operation that has no backends to choose from runs by its kernel: on NVIDIA GPUs where it fits.

    Inside `use_backend` it does not. The choice is logged as that of `choose_backend`.
    """
    taken = fits and _automatic.get() == "auto" and kernels_run()
    if taken:
        _say(f'{operation}: backend "fused" on {jax.default_backend()}')
    return taken


@cache
def _say(sentence: str) -> None:
    """Logs a sentence, the first time it is given."""
    logging.getLogger(__name__).info(sentence)
