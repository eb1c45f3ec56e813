"""Speed and accuracy of single operations: forward, and with the gradient of every input."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssm_bench import ops
from ssm_bench.bench.compile import built, cold
from ssm_bench.bench.recording import Findings
from ssm_bench.training.run import out_of_memory
from ssm_bench.training.stop import Stop

#: Timings, of which the median counts; each starts as many calls as fit in GROUP_SECONDS before it waits. After SECONDS
#: only the least number of them is made.
REPEATS, LEAST_REPEATS, SECONDS = 15, 3, 5.0
GROUP_SECONDS, MOST_CALLS = 0.02, 100

#: Errors are those of this many sequences, of this many steps, at most: float64 is slow on a GPU.
CHECKED_BATCH, CHECKED_LENGTH = 2, 1024

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """An operation that can be timed.

    Attributes:
        sizes: what the numbers of a shape are; the first two are batch and length.
        shapes: those that are timed if none are named.
        make: random float32 inputs of a shape, from a NumPy generator.
        apply: the operation on these inputs with a backend.
        sequences: which inputs have the axes (batch, length, ...).
    """

    sizes: str
    shapes: tuple[tuple[int, ...], ...]
    make: Callable[..., Arrays]
    apply: Callable[[Arrays, str], Any]
    sequences: tuple[str, ...]


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _complex(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return _normal(rng, *shape) + 1j * _normal(rng, *shape)


def _spectrum(rng: np.random.Generator, states: int) -> np.ndarray:
    """The logarithm of eigenvalues from 0.9 to 0.9999 in modulus, at any angle."""
    moduli = -np.exp(rng.uniform(np.log(1e-4), np.log(0.1), states))
    return (moduli + 1j * rng.uniform(-np.pi, np.pi, states)).astype(np.complex64)


def _selective_inputs(rng: np.random.Generator, batch: int, length: int, channels: int, states: int) -> Arrays:
    """As Mamba begins: step sizes from 0.001 to 0.1, decay rates 1 to n."""
    step = np.exp(rng.uniform(np.log(1e-3), np.log(0.1), channels)).astype(np.float32)
    sequence = (batch, length, channels)
    return {
        "u": _normal(rng, *sequence),
        "delta": 0.1 * _normal(rng, *sequence),
        "A": -np.tile(np.arange(1, states + 1, dtype=np.float32), (channels, 1)),
        "B": _normal(rng, batch, length, states),
        "C": _normal(rng, batch, length, states),
        "D": _normal(rng, channels),
        "z": _normal(rng, *sequence),
        "delta_bias": step + np.log(-np.expm1(-step)),
    }


def _rg_lru_inputs(rng: np.random.Generator, batch: int, length: int, channels: int) -> Arrays:
    sequence = (batch, length, channels)
    decay = rng.uniform(0.9, 0.999, channels)
    return {
        "x": _normal(rng, *sequence),
        "gate_x": _normal(rng, *sequence),
        "gate_a": _normal(rng, *sequence),
        # An open gate gives the decay: 8 softplus(a_param) = -log(decay).
        "a_param": np.log(np.expm1(-np.log(decay) / 8)).astype(np.float32),
    }


def _recurrence_inputs(rng: np.random.Generator, batch: int, length: int, states: int) -> Arrays:
    return {"log_a": _spectrum(rng, states), "b": _complex(rng, batch, length, states)}


def _diagonal_inputs(rng: np.random.Generator, batch: int, length: int, states: int, width: int) -> Arrays:
    return {
        "u": _normal(rng, batch, length, width),
        "log_a": _spectrum(rng, states),
        "B": (_complex(rng, states, width) / np.sqrt(2 * width)).astype(np.complex64),
        "C": (_complex(rng, width, states) / np.sqrt(states)).astype(np.complex64),
    }


#: The shapes are those of the Long Range Arena recipes, and one of a language model.
OPERATIONS: Mapping[str, Operation] = {
    "selective_scan": Operation(
        "batch x length x channels x states",
        ((64, 2048, 192, 64), (50, 1024, 512, 64), (32, 4096, 256, 64), (32, 16384, 256, 64), (8, 4096, 1536, 16)),
        _selective_inputs,
        lambda a, backend: ops.selective_scan(**a, delta_softplus=True, backend=backend),
        ("u", "delta", "B", "C", "z"),
    ),
    "rg_lru": Operation(
        "batch x length x channels",
        ((32, 4096, 256), (50, 1024, 512), (64, 1024, 256), (32, 16384, 128)),
        _rg_lru_inputs,
        lambda a, backend: ops.rg_lru(**a, backend=backend),
        ("x", "gate_x", "gate_a"),
    ),
    "linear_recurrence": Operation(
        "batch x length x complex states",
        ((32, 16384, 128), (50, 1024, 192), (50, 2048, 8)),
        _recurrence_inputs,
        lambda a, backend: ops.linear_recurrence(None, a["b"], log_a=a["log_a"], backend=backend),
        ("b",),
    ),
    "diagonal_ssm": Operation(
        "batch x length x complex states x width",
        ((32, 16384, 128, 128), (50, 1024, 192, 512), (50, 2048, 8, 128)),
        _diagonal_inputs,
        lambda a, backend: ops.diagonal_ssm(**a, backend=backend),
        ("u",),
    ),
}


def time_operation(
    operation: Operation,
    shapes: Sequence[Sequence[int]],
    backends: Sequence[str],
    *,
    stop: Stop,
    begin: Callable[[str, str], None],
    end: Callable[[str, str, Mapping[str, float]], None],
) -> Findings:
    """Times every shape with every backend. What exceeds the memory or the time is named in notes.

    Args:
        operation: one of OPERATIONS.
        shapes: as many sizes each as the operation has.
        backends: of `ops.backends.WITH_FUSED`.
        stop: nothing is started after its deadline.
        begin: called with each shape, like "2x64x64", and backend before it is timed.
        end: called with both and what `measure_operation` found.

    Raises:
        UserError: a backend cannot run here.
    """
    findings = Findings(
        notes=[
            f"float32; shapes are {operation.sizes}; matrix products as precise as JAX makes them by default",
            f"errors: the largest difference from a loop in float64 over the largest number, on the first "
            f"{CHECKED_BATCH} sequences and {CHECKED_LENGTH} steps",
        ]
    )
    for shape, backend in itertools.product(shapes, backends):
        size = "x".join(map(str, shape))
        if reason := stop.reason():
            findings.notes.append(f"no time from {size} with {backend} on: {reason}")
            break
        begin(size, backend)
        try:
            found = measure_operation(operation, shape, backend)
        except (jax.errors.JaxRuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            findings.notes.append(f"out of memory at {size} with {backend}")
            continue
        findings.add(found, backend=backend, shape=shape)
        end(size, backend, found)
    return findings


def measure_operation(operation: Operation, shape: Sequence[int], backend: str) -> dict[str, float]:
    """Times one shape with one backend and compares it with float64: `measure_times` and `measure_errors`.

    Raises:
        UserError: the backend cannot run here.
    """
    return measure_times(operation, shape, backend) | measure_errors(operation, shape, backend)


def measure_times(operation: Operation, shape: Sequence[int], backend: str, *, build: bool = False) -> dict[str, float]:
    """Times one shape with one backend.

    Args:
        operation: one of OPERATIONS.
        shape: its sizes.
        backend: passed to the operation.
        build: also build the program with gradients without any cache, and run it for the first time.

    Returns:
        forward_ms, forward_backward_ms, temporary_bytes and output_bytes (of the program with gradients), and with
        `build` trace_seconds, lower_seconds, compile_seconds, cpu_seconds, instructions and first_run_seconds of it.

    Raises:
        UserError: the backend cannot run here.
    """
    inputs = _inputs(operation, tuple(shape))
    arrays = {name: jnp.asarray(value) for name, value in inputs.items()}
    found: dict[str, float] = {}
    forward = jax.jit(lambda a: operation.apply(a, backend))
    both = jax.jit(lambda a, g: _with_gradients(operation, backend, a, g))
    gradient = jnp.asarray(_gradient(operation, inputs, backend))
    if build:
        # Before any other run, since compilers of kernels have caches of their own.
        with cold():
            stages, compiled = built(lambda: both.trace(arrays, gradient))
            begun = time.perf_counter()
            jax.block_until_ready(compiled(arrays, gradient))
            found |= stages | {"first_run_seconds": round(time.perf_counter() - begun, 3)}
    for name, program, arguments in (
        ("forward_ms", forward, (arrays,)),
        ("forward_backward_ms", both, (arrays, gradient)),
    ):
        compiled = program.lower(*arguments).compile()
        found[name] = _milliseconds(lambda run=compiled, given=arguments: run(*given))
        memory = compiled.memory_analysis()
        if memory is not None:
            found |= {"temporary_bytes": memory.temp_size_in_bytes, "output_bytes": memory.output_size_in_bytes}
    return found


def measure_errors(operation: Operation, shape: Sequence[int], backend: str) -> dict[str, float]:
    """Compares one shape with one backend with float64.

    Returns:
        value_error and gradient_error: the largest difference from a loop in float64 over the largest number, of the
        output and of the worst input's gradient, on the first sequences and steps (CHECKED_BATCH, CHECKED_LENGTH).

    Raises:
        UserError: the backend cannot run here.
    """
    return _errors(operation, _inputs(operation, tuple(shape)), backend)


@lru_cache(maxsize=1)
def _inputs(operation: Operation, shape: tuple[int, ...]) -> Arrays:
    """The same for all backends, which are timed one after the other."""
    return operation.make(np.random.default_rng(0), *shape)


def _with_gradients(operation: Operation, backend: str, arrays: Arrays, gradient: jax.Array) -> tuple[Any, Arrays]:
    """The output, and the gradients of all inputs for that gradient of the output."""
    y, pull = jax.vjp(lambda a: operation.apply(a, backend), arrays)
    return y, pull(gradient)[0]


def _gradient(operation: Operation, inputs: Arrays, backend: str) -> np.ndarray:
    """A random gradient of the output."""
    y = jax.eval_shape(lambda a: operation.apply(a, backend), inputs)
    rng = np.random.default_rng(1)
    return (_complex if jnp.issubdtype(y.dtype, jnp.complexfloating) else _normal)(rng, *y.shape).astype(y.dtype)


def _milliseconds(start: Callable[[], Any]) -> float:
    """Median time of a call; several are under way before each wait, as in a training loop."""
    jax.block_until_ready(start())
    begun = time.perf_counter()
    jax.block_until_ready(start())
    calls = int(min(max(GROUP_SECONDS / (time.perf_counter() - begun), 1), MOST_CALLS))
    times, end = [], time.monotonic() + SECONDS
    while len(times) < LEAST_REPEATS or (len(times) < REPEATS and time.monotonic() < end):
        begun = time.perf_counter()
        for _ in range(calls):
            last = start()
        jax.block_until_ready(last)
        times.append((time.perf_counter() - begun) / calls)
    return round(1000 * float(np.median(times)), 4)


def _errors(operation: Operation, inputs: Arrays, backend: str) -> dict[str, float]:
    """The largest relative differences from the loop in float64, on a part of the inputs."""
    part = {
        name: value[:CHECKED_BATCH, :CHECKED_LENGTH] if name in operation.sequences else value
        for name, value in inputs.items()
    }
    gradient = _gradient(operation, part, backend)

    def outcome(backend: str, arrays: Arrays, gradient: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        y, gradients = jax.jit(lambda a, g: _with_gradients(operation, backend, a, g))(arrays, gradient)
        return np.asarray(y), {name: np.asarray(value) for name, value in gradients.items()}

    y, gradients = outcome(backend, part, gradient)
    with jax.enable_x64(True):
        wide = {name: _widened(value) for name, value in part.items()}
        exact, exact_gradients = outcome("sequential", wide, _widened(gradient))
    return {
        "value_error": _relative(y, exact),
        "gradient_error": max(_relative(gradients[name], exact_gradients[name]) for name in gradients),
    }


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)


def _relative(seen: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference over the largest number, to three digits."""
    return float(f"{np.abs(seen - exact).max() / np.abs(exact).max():.2e}")
