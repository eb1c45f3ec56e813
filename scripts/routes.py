"""Compares the routes by which the states of `diagonal_ssm` can reach a GPU: `python scripts/routes.py`.

xla is the parallel scan that XLA compiles; pallas the kernel that the suite has, in Pallas through Triton; mosaic the
same kernel in Pallas through Mosaic GPU; triton a kernel in Triton itself, for which the package triton is needed.
Each route gets a record results/speed/routes-diagonal_ssm-ROUTE-PLATFORM.json. A route or shape that cannot run here is
skipped with the reason.
"""

import argparse
import dataclasses
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

# Triton would find kernels of an earlier run.
os.environ |= {"TRITON_ALWAYS_COMPILE": "1", "TRITON_CACHE_DIR": tempfile.mkdtemp()}

import jax

from ssm_bench.bench import recording
from ssm_bench.bench.operations import OPERATIONS, measure_errors, measure_times
from ssm_bench.cli.bench.scan import shape_of
from ssm_bench.errors import UserError, unknown_name
from ssm_bench.ops import diagonal, diagonal_ssm
from ssm_bench.ops.kernels.gpu import kernels_run

NAME = "diagonal_ssm"


def _pallas(shape: tuple[int, ...]) -> Callable[..., jax.Array]:
    if not kernels_run():
        raise UserError("it needs an NVIDIA GPU and a JAX with Pallas for Triton")
    return partial(diagonal_ssm, backend="fused")


def _mosaic(shape: tuple[int, ...]) -> Callable[..., jax.Array]:
    _need_capability(9.0)
    from ssm_bench.ops.kernels.diagonal_scan_mosaic import WIDTH, mosaic_states

    if shape[2] % WIDTH:
        raise UserError(f"it needs a multiple of {WIDTH} states; got {shape[2]}")
    return partial(diagonal.with_states, mosaic_states)


def _triton(shape: tuple[int, ...]) -> Callable[..., jax.Array]:
    if not importlib.util.find_spec("triton"):
        raise UserError("it needs triton, but the package is not installed")
    _need_capability(8.0)
    from ssm_bench.ops.kernels.diagonal_scan_triton import triton_states

    return partial(diagonal.with_states, triton_states)


def _need_capability(least: float) -> None:
    found = float(getattr(jax.devices()[0], "compute_capability", 0)) if jax.default_backend() == "gpu" else 0
    if found < least:
        raise UserError(f"it needs an NVIDIA GPU of compute capability {least} or more; got {jax.devices()[0]}")


#: From the sizes of the operation to a function like `diagonal_ssm`.
ROUTES = {
    "xla": lambda shape: partial(diagonal_ssm, backend="associative"),
    "pallas": _pallas,
    "triton": _triton,
    "mosaic": _mosaic,
}


def measure(route: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Times of a call and of building it, and errors with matrix products in full precision.

    Raises:
        UserError: the route cannot run this here.
    """
    function = ROUTES[route](shape)
    reference = partial(diagonal_ssm, backend="sequential")
    operation = dataclasses.replace(
        OPERATIONS[NAME], apply=lambda a, name: (reference if name == "sequential" else function)(**a)
    )
    found = measure_times(operation, shape, route, build=True)
    with jax.default_matmul_precision("highest"):
        return found | measure_errors(operation, shape, route)


def main() -> int:
    """Measures one route after the other; 1 if one failed, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--routes", default=",".join(ROUTES), help=f"default: {','.join(ROUTES)}")
    shapes = ",".join("x".join(map(str, shape)) for shape in OPERATIONS[NAME].shapes)
    parser.add_argument("--shapes", default=shapes, help=f"{OPERATIONS[NAME].sizes}; default: {shapes}")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records; default: results")
    options = parser.parse_args()
    routes, texts = options.routes.split(","), options.shapes.split(",")
    try:
        for route in routes:
            if route not in ROUTES:
                raise unknown_name("--routes", route, ROUTES)
        shapes = {text: shape_of(OPERATIONS[NAME].sizes, text) for text in texts}
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    columns = ("forward_ms", "forward_backward_ms", "value_error", "gradient_error")
    stages = ("trace_seconds", "lower_seconds", "compile_seconds", "first_run_seconds")
    print(" ".join(f"{head:>20}" for head in ("route and shape", *columns, *stages)))
    failed = 0
    for route in routes:
        findings = recording.Findings(
            notes=[
                "float32; matrix products with the default precision of JAX for times, with the highest for errors",
                "seconds: forward and backward, without any cache; the first route to run also tunes matrix products",
            ]
        )
        for size, shape in shapes.items():
            try:
                found = measure(route, shape)
            except UserError as error:
                findings.notes.append(f"skipped {size}: {error}")
                print(f"{route} {size} is skipped: {error}", flush=True)
                continue
            # What a compiler does not support is a result.
            except Exception as error:
                failed = 1
                line = str(error).strip().partition("\n")[0][:200]
                findings.notes.append(f"failed at {size}: {type(error).__name__}: {line}")
                print(f"{route} {size} failed: {type(error).__name__}: {error}"[:2000], flush=True)
                continue
            findings.add(found, backend=route, shape=shape)
            cells = (f"{route} {size}", *(f"{found[name]:.4g}" for name in (*columns, *stages)))
            print(" ".join(f"{cell:>20}" for cell in cells), flush=True)
        if findings.measurements:
            path = recording.write(
                findings, options.results, benchmark="scan", default_name=f"routes-{NAME}-{route}", operation=NAME
            )
            print(f"written to {path}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
