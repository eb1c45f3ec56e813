"""`ssm-bench bench length`: time and memory of the training step against the length of the input."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import UNGIVEN, _shared
from ssm_bench.errors import UserError


def run(options: argparse.Namespace) -> int:
    """Times, prints and records every model."""
    if not options.models:
        raise UserError("bench length takes --models, like s5,transformer")
    lengths = _shared.lengths_of(options)
    if options.tokens < lengths[-1]:
        raise UserError(f"--tokens must be at least the longest of --lengths, {lengths[-1]}; got {options.tokens}")
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench.length import time_lengths
    from ssm_bench.bench.recording import Findings
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.training.checks import writable
    from ssm_bench.training.stop import Stop

    deadline = _shared.deadline_of(options)
    configs = {model: _shared.recipe(options, model, length=lengths[0]) for model in options.models}
    writable(options.results)
    screen = Screen()

    def row(length: int, found: Findings) -> None:
        if screen.live:
            screen.line("")
        time, memory = (found.value(metric, shape=(length,)) for metric in ("step_ms", "temporary_bytes"))
        shown = "-" if memory is None else f"{memory:,}"
        print(f"  {length:>9,}  {options.tokens // length:>7,}  {time:>12.3f}  {shown:>16}")

    with Stop(deadline) as stop:
        for model, config in configs.items():

            def begin(length: int, model: str = model) -> None:
                if screen.live:
                    screen.update(f"{model}: {length:,} tokens")

            print(f"{model} on {options.task}, {options.tokens:,} tokens a batch, {_shared.device_words()}")
            print(f"  {'length':>9}  {'batch':>7}  {'ms a step':>12}  {'temporary bytes':>16}")
            found, ran = time_lengths(
                config,
                lengths,
                tokens=options.tokens,
                steps=options.steps,
                repeats=options.repeats,
                stop=stop,
                begin=begin,
                end=row,
            )
            for note in found.notes:
                print(f"  {note}")
            if ran:
                name = _shared.name_of(options, model)
                if options.tokens != UNGIVEN["tokens"]:
                    name += f"-{options.tokens}-tokens"
                # The lengths differ in length and batch size only.
                _shared.write(options, found, name, model=model, config=ran)
            if stop.reason():
                break
    return 0
