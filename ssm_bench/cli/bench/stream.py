"""`ssm-bench bench stream`: a token of a single stream, against its position."""

import argparse
from typing import Any

from ssm_bench import registry
from ssm_bench.cli import _options
from ssm_bench.cli.bench import DEFAULTS, _record
from ssm_bench.errors import UserError


def run(options: argparse.Namespace) -> int:
    """Times, prints and records every model."""
    if not options.models:
        raise UserError("bench stream takes --models, like s5,transformer")
    _options.prepare_jax()
    from ssm_bench.bench.stream import chunk_of, measure_stream
    from ssm_bench.config import override
    from ssm_bench.sweep.progress import Screen, parse_duration
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.train.checks import check_sizes, writable
    from ssm_bench.train.run import make_program, open_data
    from ssm_bench.train.stop import Stop

    lengths = _record.lengths_of(options)
    chunk_of(lengths)
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    configs = {}
    for model in options.models:
        config = resolve(model, options.task, preset="paper", data="synthetic", protocol=options.protocol)
        # A class token has no place in a stream; a table of a million positions is no part of a step.
        config.model.update(pooling="mean", positions="none")
        if "bidirectional" in config.mixer:
            config.mixer.bidirectional = False
        # A stream has no longest length, and every call would restore C from what learns in its place.
        if "truncate" in config.mixer:
            config.mixer.truncate = False
        configs[model] = override(config, options.overrides)
        _check_forward(configs[model])
    writable(options.results)
    screen = Screen()
    with Stop(deadline) as stop:
        for model, config in configs.items():
            config, dataset = open_data(config)
            if dataset.spec.documents > 1:
                raise UserError(f"streams are single documents, and {options.task} compares two; try --task listops")
            check_sizes(config, dataset)

            def make(length: int, config: Any = config, dataset: Any = dataset) -> Any:
                if "max_steps" in config.mixer:
                    config.mixer.max_steps = length
                return make_program(config, dataset).model

            def tell(words: str, model: str = model) -> None:
                if screen.live:
                    screen.update(f"{model}: {words}")

            measurements, notes = measure_stream(make, lengths, stop, tell)
            if model != next(iter(configs)):
                # The peak is that of the process, in which other models ran before.
                measurements = {name: value for name, value in measurements.items() if "peak_bytes" not in name}
            screen.line("") if screen.live else None
            print(f"{model}, {_record.device_words()}")
            print(f"  {'tokens':>9}  {'ms a token':>12}  {'one a call':>12}  {'state, bytes':>14}")
            for length in lengths:
                columns = [measurements.get(f"{n}_at_{length}") for n in ("latency_ms", "latency_ms_one_per_call")]
                shown = [f"{'-' if value is None else f'{value:.4f}':>12}" for value in columns]
                size = measurements.get(f"state_bytes_at_{length}")
                print(f"  {length:>9,}  {'  '.join(shown)}  {'-' if size is None else f'{size:,}':>14}")
            for note in notes:
                print(f"  {note}")
            name = f"stream-{model}"
            if options.task != DEFAULTS["stream"]["task"]:
                name += f"-{options.task}"
            _record.write(options, name, measurements, model=model, config=config, notes=notes)
            if stop.reason():
                break
    return 0


def _check_forward(config: Any) -> None:
    """Refuses what has no place in a stream that is read forward, position by position, without an end."""
    from ssm_bench.network.mixer import Mixer, WholeMixer

    if issubclass(registry.subclass("mixers", config.model.mixer, Mixer), WholeMixer):
        raise UserError(f"a stream is read forward, which the mixer {config.model.mixer} can not")
    if config.mixer.get("bidirectional"):
        raise UserError("a stream is read forward: --config.mixer.bidirectional must be false; got true")
    for name, allowed in (("pooling", ("mean", "last")), ("positions", ("none",)), ("context", (0,))):
        if config.model[name] not in allowed:
            raise UserError(
                f"in a stream --config.model.{name} must be {' or '.join(map(str, allowed))}; got {config.model[name]}"
            )
