"""`ssm-bench bench scan`: an operation with each of several backends, and how exact they are."""

import argparse
from collections.abc import Mapping

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared
from ssm_bench.errors import UserError, unknown_name


def run(options: argparse.Namespace) -> int:
    """Times, prints and records."""
    if options.overrides:
        raise UserError(f"bench scan takes sizes by --shapes, not by {options.overrides[0]}")
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench.operations import OPERATIONS, time_operation
    from ssm_bench.ops.backends import WITH_FUSED
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.training.checks import writable
    from ssm_bench.training.stop import Stop

    if options.op not in OPERATIONS:
        raise unknown_name("--op", options.op, OPERATIONS)
    operation = OPERATIONS[options.op]
    for backend in options.backends:
        if backend not in WITH_FUSED:
            raise unknown_name("--backends", backend, WITH_FUSED)
    shapes = [shape_of(operation.sizes, text) for text in options.shapes] or operation.shapes
    deadline = _shared.deadline_of(options)
    writable(options.results)
    screen = Screen()

    def begin(size: str, backend: str) -> None:
        if screen.live:
            screen.update(f"{options.op} {size}, {backend}")

    def row(size: str, backend: str, found: Mapping[str, float]) -> None:
        if screen.live:
            screen.line("")
        times = f"{found['forward_ms']:>15.3f} {found['forward_backward_ms']:>15.3f}"
        memory = f"{found['temporary_bytes']:>15,}" if "temporary_bytes" in found else f"{'-':>15}"
        errors = f"{found['value_error']:>15.1e} {found['gradient_error']:>15.1e}"
        print(f"  {size:18} {backend:11} {times} {memory} {errors}")

    print(f"{options.op}, {operation.sizes}, {_shared.device_words()}")
    heads = ("forward, ms", "+ gradient, ms", "temporary bytes", "error", "of gradients")
    print(f"  {'shape':18} {'backend':11} " + " ".join(f"{head:>15}" for head in heads))
    with Stop(deadline) as stop:
        found = time_operation(operation, shapes, options.backends, stop=stop, begin=begin, end=row)
    for note in found.notes:
        print(f"  {note}")
    if found.measurements:
        _shared.write(options, found, "-".join(["scan", options.op, *options.shapes]), operation=options.op)
    return 0


def shape_of(sizes: str, text: str) -> tuple[int, ...]:
    """A shape like 32x4096x256.

    Args:
        sizes: what its numbers are, such as "batch x length x channels".
        text: the shape.

    Raises:
        UserError: other than as many whole numbers from 1 on as there are sizes.
    """
    parts = text.split("x")
    count = len(sizes.split(" x "))
    if len(parts) != count or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--shapes takes {sizes}, like 2x{'x'.join(['64'] * (count - 1))}; got {text}")
    return tuple(map(int, parts))
