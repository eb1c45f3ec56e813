"""`ssm-bench bench length`: time and memory of the training step against the length of the input."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import DEFAULTS, UNGIVEN, _record
from ssm_bench.errors import UserError

#: What of a step is recorded at each length.
KEPT = ("step_ms", "tokens_per_second", "temporary_bytes", "compile_seconds", "batch_size")


def run(options: argparse.Namespace) -> int:
    """Times, prints and records every model; lengths that do not fit in memory are told in notes."""
    if not options.models:
        raise UserError("bench length takes --models, like s5,transformer")
    lengths = _record.lengths_of(options)
    if options.tokens < lengths[-1]:
        raise UserError(f"--tokens must be at least the longest of --lengths, {lengths[-1]}; got {options.tokens}")
    _options.prepare_jax()
    import jax

    from ssm_bench.bench.step import measure_step
    from ssm_bench.config import override
    from ssm_bench.sweep.progress import Screen, parse_duration
    from ssm_bench.train.checks import writable
    from ssm_bench.train.run import make_trainer, open_data, out_of_memory
    from ssm_bench.train.stop import Stop

    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    configs = {
        model: override(_record.recipe(options, model, length=lengths[0]), options.overrides)
        for model in options.models
    }
    writable(options.results)
    screen = Screen()
    with Stop(deadline) as stop:
        for model, config in configs.items():
            measurements, notes, first = {}, [], None
            print(f"{model} on {options.task}, {options.tokens:,} tokens a batch, {_record.device_words()}")
            print(f"  {'length':>9}  {'batch':>7}  {'ms a step':>12}  {'temporary bytes':>16}")
            for length in lengths:
                if reason := stop.reason():
                    notes.append(f"no time from {length} on: {reason}")
                    break
                if screen.live:
                    screen.update(f"{model}: {length:,} tokens")
                batch = options.tokens // length
                config.task.update(max_length=length, examples=batch)
                config.train.batch_size = batch
                try:
                    one, dataset = open_data(config)
                    trainer = make_trainer(one, dataset)
                    found = measure_step(trainer, scan_steps=options.steps, repeats=options.repeats)
                except (jax.errors.JaxRuntimeError, MemoryError) as error:
                    if not out_of_memory(error):
                        raise
                    notes.append(f"out of memory at {length}")
                    continue
                first = first or one
                measurements |= {f"{name}_at_{length}": found[name] for name in KEPT if name in found}
                shown = f"{found['temporary_bytes']:,}" if "temporary_bytes" in found else "-"
                screen.line("") if screen.live else None
                print(f"  {length:>9,}  {batch:>7,}  {found['step_ms']:>12.3f}  {shown:>16}")
            for note in notes:
                print(f"  {note}")
            if first:
                measurements |= {"tokens": options.tokens} | _record.sizes(first)
                name = f"length-{model}"
                if options.task != DEFAULTS["length"]["task"]:
                    name += f"-{options.task}"
                if options.tokens != UNGIVEN["tokens"]:
                    name += f"-{options.tokens}-tokens"
                # The configuration of the first length that ran: the others differ in length and batch alone.
                _record.write(options, name, measurements, model=model, config=first, notes=notes)
            if stop.reason():
                break
    return 0
