"""`ssm-bench bench segments`: the training step on one long sequence: whole, in segments, on several devices."""

import argparse
from functools import partial

from ssm_bench.cli import _options
from ssm_bench.cli.bench import UNGIVEN, _shared
from ssm_bench.errors import UserError


def run(options: argparse.Namespace) -> int:
    """Times, prints and records every model."""
    if not options.models:
        raise UserError("bench segments takes --models, like s5,lru")
    lengths, devices = _shared.lengths_of(options), options.devices
    if devices > 1 and options.segment != UNGIVEN["segment"]:
        raise UserError(f"--segment is for one device, but --devices divides whole sequences; got {devices}")
    if undivided := [length for length in lengths if length % devices]:
        raise UserError(f"--lengths must be multiples of --devices, here {devices}; got {undivided[0]}")
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench import segments
    from ssm_bench.bench.recording import Findings
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.training.checks import writable
    from ssm_bench.training.run import open_data
    from ssm_bench.training.segments import check
    from ssm_bench.training.stop import Stop

    deadline = _shared.deadline_of(options)
    make_streamed = partial(segments.make_streamed, segment=options.segment)
    configs = {model: _shared.changed_recipe(options, model, make_streamed) for model in options.models}
    for config in configs.values():
        check(config)
    writable(options.results)
    screen = Screen()

    def row(length: int, size: int, found: Findings) -> None:
        if screen.live:
            screen.line("")
        shape = (length, size) if size else (length,)
        time, memory = (found.value(metric, shape=shape) for metric in ("step_ms", "temporary_bytes"))
        shown = ("-" if time is None else f"{time:,.1f}", "-" if memory is None else f"{memory:,}")
        print(f"  {length:>9,}  {f'{size:,}' if size else 'whole':>9}  {shown[0]:>12}  {shown[1]:>16}")

    with Stop(deadline) as stop:
        for model, config in configs.items():
            config, dataset = open_data(config)

            def begin(length: int, size: int, model: str = model) -> None:
                if screen.live:
                    screen.update(f"{model}: {length:,} tokens, {f'segments of {size:,}' if size else 'whole'}")

            print(f"{model} on {options.task}, one sequence a step, {_shared.device_words(devices)}")
            print(f"  {'length':>9}  {'segment':>9}  {'ms a step':>12}  {'temporary bytes':>16}")
            found = segments.measure_segments(
                config,
                dataset,
                lengths,
                segment=options.segment,
                devices=devices,
                repeats=options.repeats,
                stop=stop,
                begin=begin,
                end=row,
            )
            for note in found.notes:
                print(f"  {note}")
            if found.measurements:
                name = _shared.name_of(options, model)
                if options.segment != UNGIVEN["segment"]:
                    name += f"-{options.segment}"
                if devices > 1:
                    name += f"-{devices}-devices"
                _shared.write(options, found, name, model=model, config=config, devices=devices)
            if stop.reason():
                break
    return 0
