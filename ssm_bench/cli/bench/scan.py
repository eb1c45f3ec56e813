"""`ssm-bench bench scan`: an operation with each of several backends, and how exact they are."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _record
from ssm_bench.errors import UserError, unknown_name


def run(options: argparse.Namespace) -> int:
    """Times, prints and records; shapes that do not fit in memory are told in notes."""
    if options.overrides:
        raise UserError(f"bench scan takes sizes by --shapes, not by {options.overrides[0]}")
    _options.prepare_jax()
    import jax

    from ssm_bench.bench import operations
    from ssm_bench.ops.backends import WITH_FUSED
    from ssm_bench.sweep.progress import Screen, parse_duration
    from ssm_bench.train.checks import writable
    from ssm_bench.train.run import out_of_memory
    from ssm_bench.train.stop import Stop

    if options.op not in operations.OPERATIONS:
        raise unknown_name("--op", options.op, operations.OPERATIONS)
    operation = operations.OPERATIONS[options.op]
    for backend in options.backends:
        if backend not in WITH_FUSED:
            raise unknown_name("--backends", backend, WITH_FUSED)
    shapes = [operations.shape_of(operation, text) for text in options.shapes] or operation.shapes
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    writable(options.results)
    screen = Screen()
    measurements: dict[str, float] = {}
    notes = [
        f"float32; shapes are {operation.sizes}; matrix products as precise as JAX makes them by default",
        f"errors: the largest difference from a loop in float64 over the largest number, on the first "
        f"{operations.CHECKED_BATCH} sequences and {operations.CHECKED_LENGTH} steps",
    ]
    print(f"{options.op}, {operation.sizes}, {_record.device_words()}")
    heads = ("forward, ms", "+ gradient, ms", "temporary bytes", "error", "of gradients")
    print(f"  {'shape':18} {'backend':11} " + " ".join(f"{head:>15}" for head in heads))
    with Stop(deadline) as stop:
        for shape, backend in [(shape, backend) for shape in shapes for backend in options.backends]:
            size = "x".join(map(str, shape))
            if reason := stop.reason():
                notes.append(f"no time from {size} with {backend} on: {reason}")
                break
            if screen.live:
                screen.update(f"{options.op} {size}, {backend}")
            try:
                found = operations.measure_operation(operation, shape, backend)
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                notes.append(f"out of memory at {size} with {backend}")
                continue
            screen.line("") if screen.live else None
            measurements |= {f"{backend}_{name}_at_{size}": value for name, value in found.items()}
            times = f"{found['forward_ms']:>15.3f} {found['forward_backward_ms']:>15.3f}"
            memory = f"{found['temporary_bytes']:>15,}" if "temporary_bytes" in found else f"{'-':>15}"
            errors = f"{found['value_error']:>15.1e} {found['gradient_error']:>15.1e}"
            print(f"  {size:18} {backend:11} {times} {memory} {errors}")
    for note in notes:
        print(f"  {note}")
    if measurements:
        name = "-".join(["scan", options.op, *options.shapes])
        _record.write(options, name, measurements, operation=options.op, notes=notes)
    return 0
