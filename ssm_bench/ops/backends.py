"""Chooses the backend of an operation: the requested one, or the best one for the platform and the arrays."""

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

#: What "auto" stands for: itself, except inside `use_backend`.
_automatic: ContextVar[str] = ContextVar("backend", default="auto")


class FastPath(NamedTuple):
    """The "fused" backend of an operation, for the arrays at hand.

    Attributes:
        operation: its name.
        needs: the arrays that it supports, in words.
        given: the arrays at hand, in the same words.
        fits: whether it supports them.
        worth: whether it is then the fastest backend, so that "auto" takes it.
        own: whether it is a kernel of `ssm_bench.ops.kernels`, for NVIDIA GPUs; otherwise every GPU has it.
        plain: the name of the alternative, for an operation that has no other backends; "": the usual ones.
    """

    operation: str
    needs: str
    given: str
    fits: bool
    worth: bool = True
    own: bool = True
    plain: str = ""


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Makes "auto" mean one of the backends that every operation has, for comparisons.

    Backends are chosen when a program is traced. A program traced earlier keeps its own; `jax.clear_caches()` drops it.

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


def choose_backend(backend: str, path: FastPath | None = None) -> str:
    """The backend to run: "sequential", "associative", or the fast path of the operation, "fused".

    "auto" is the backend of the enclosing `use_backend`. Without one it is the fast path where that runs, fits and is
    the fastest; otherwise the loop on CPU and the parallel scan elsewhere. The choice is logged once for each operation
    and kind of arrays, with the reason where a GPU does not take the fast path.

    Raises:
        UserError: an unknown backend, or "fused" where the fast path cannot run.
    """
    allowed = WITH_FUSED if path else BACKENDS
    if backend == "auto":
        backend = _automatic.get()
    if backend not in allowed:
        raise unknown_name("backend", backend, allowed)
    if backend in ("associative", "sequential"):
        return backend
    platform = jax.default_backend()
    plain = "sequential" if platform == "cpu" else "associative"
    if path is None:
        return plain
    runs = path.fits and (kernels_run() if path.own else platform == "gpu")
    if backend == "fused":
        if not runs:
            raise UserError(f'backend "fused" needs an NVIDIA GPU and {path.needs}; got {platform} and {path.given}')
        return "fused"
    chosen = "fused" if runs and path.worth else path.plain or plain
    reason = f"; {_reason(path)}" if platform == "gpu" and chosen != "fused" else ""
    _log_once(f'{path.operation}: backend "{chosen}" on {platform} for {path.given}{reason}')
    return chosen


def _reason(path: FastPath) -> str:
    """Why "auto" does not take the fast path on a GPU."""
    if not path.fits:
        return f'"fused" needs {path.needs}'
    if path.own and not kernels_run():
        return '"fused" needs an NVIDIA GPU and a JAX with Pallas for Triton'
    return '"fused" is not faster for arrays of these sizes'


@cache
def _log_once(sentence: str) -> None:
    """Logs a sentence the first time."""
    logging.getLogger(__name__).info(sentence)
