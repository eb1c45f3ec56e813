"""`ssm-bench bench stream`: a token of a single stream, against its position."""

import argparse

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared
from ssm_bench.errors import ArgumentError, UserError


def run(options: argparse.Namespace) -> int:
    """Times, prints and records every model."""
    if not options.models:
        raise UserError("bench stream takes --models, like s5,transformer")
    _options.prepare_jax(cache=options.compilation_cache)
    from ssm_bench.bench import stream
    from ssm_bench.sweep.progress import Screen
    from ssm_bench.training.checks import check_sizes, writable
    from ssm_bench.training.run import open_data
    from ssm_bench.training.stop import Stop

    lengths = _shared.lengths_of(options)
    try:
        stream.chunk_of(lengths)
    except ArgumentError as error:
        raise ArgumentError(f"--{error.name}", *error.words) from None
    deadline = _shared.deadline_of(options)
    configs = {}
    for model in options.models:
        configs[model] = _shared.changed_recipe(options, model, stream.make_causal)
        stream.check_causal(configs[model])
    writable(options.results)
    screen = Screen()
    with Stop(deadline) as stop:
        for place, (model, config) in enumerate(configs.items()):
            config, dataset = open_data(config)
            if dataset.spec.documents > 1:
                raise UserError(f"streams are single documents, and {options.task} compares two; try --task listops")
            check_sizes(config, dataset)

            def tell(words: str, model: str = model) -> None:
                if screen.live:
                    screen.update(f"{model}: {words}")

            found = stream.measure_stream(stream.maker(config, dataset), lengths, stop, tell, first=place == 0)
            if screen.live:
                screen.line("")
            print(f"{model}, {_shared.device_words()}")
            print(f"  {'tokens':>9}  {'ms a token':>12}  {'one a call':>12}  {'state, bytes':>14}")
            for length in lengths:
                times = [found.value(m, shape=(length,)) for m in ("latency_ms", "latency_ms_one_per_call")]
                shown = [f"{'-' if value is None else f'{value:.4f}':>12}" for value in times]
                size = found.value("state_bytes", shape=(length,))
                print(f"  {length:>9,}  {'  '.join(shown)}  {'-' if size is None else f'{size:,}':>14}")
            for note in found.notes:
                print(f"  {note}")
            name = _shared.name_of(options, model)
            _shared.write(options, found, name, model=model, config=config)
            if stop.reason():
                break
    return 0
