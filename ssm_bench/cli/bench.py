"""`ssm-bench bench`: speed, measured and recorded."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssm_bench.cli import _options
from ssm_bench.errors import UserError, unknown_name

HELP = "measure the speed of the training step, or of a token in a stream, and write it as a record"
EXAMPLE = """examples:
  ssm-bench bench step --model s5 --task listops
  ssm-bench bench stream --models s5,lru,transformer --lengths 1024,16384,1048576

step times the training step, alone and in the loop. stream times a token against its position in a single stream, with
the causal version of each model; the Transformer keeps a cache of the whole stream.
Sizes are the published ones on synthetic data; --config.x.y=value changes them."""

KINDS = ("step", "stream")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("what", help="step: the training step; stream: a token in a stream")
    parser.add_argument("--model", default="", help="the model of step")
    parser.add_argument("--models", type=_options.names, default=[], help="the models of stream, comma-separated")
    parser.add_argument("--task", default="", help="whose recipe is taken (stream: default listops)")
    parser.add_argument("--steps", type=int, default=100, help="steps in the one long scan (default: 100)")
    parser.add_argument("--repeats", type=int, default=3, help="timings, of which the median counts (default: 3)")
    parser.add_argument(
        "--lengths", default="1024,16384,131072,1048576", help="positions in the stream (default: %(default)s)"
    )
    parser.add_argument("--deadline", default="", metavar="TIME", help="end the streams before this time, like 9m")
    parser.add_argument("--name", default="", help="name of the record (default: step-<model>-<task>-<platform>)")
    parser.add_argument("--protocol", default="strict", help="strict (default), paper or lra")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records (default: results)")
    _options.accept_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb: prints the figures and writes results/speed/<name>.json."""
    if options.what not in KINDS:
        raise unknown_name("bench", options.what, KINDS)
    for flag in ("steps", "repeats"):
        if getattr(options, flag) < 1:
            raise UserError(f"--{flag} must be at least 1; got {getattr(options, flag)}")
    if options.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", options.name):
        raise UserError(f"--name takes letters, digits, '.', '_' and '-'; got {options.name!r}")
    return _step(options) if options.what == "step" else _stream(options)


def _step(options: argparse.Namespace) -> int:
    if not (options.model and options.task):
        raise UserError("bench step takes --model and --task")
    _options.prepare_jax()
    import tempfile

    from ssm_bench.config import override
    from ssm_bench.data import spec
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.train.checkpoint import Checkpoints
    from ssm_bench.train.run import make_trainer, open_data, writable
    from ssm_bench.train.speed import measure_loop, measure_step

    config = resolve(options.model, options.task, preset="paper", data="synthetic", protocol=options.protocol)
    config.task.max_length = spec(options.task).max_length
    config.train.update(steps=4 * config.train.chunk, evaluations=1, lengths=1)
    config, dataset = open_data(override(config, options.overrides))
    trainer = make_trainer(config, dataset)
    writable(options.results)
    measurements = measure_step(trainer, scan_steps=options.steps, repeats=options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder))
        measurements |= measure_loop(trainer, checkpoints)
        checkpoints.close()
    record = _record("step", options.model, config, measurements, options)
    width = max(map(len, measurements))
    print(f"{options.model} on {options.task}, {record.device.count} x {record.device.kind}")
    for key, value in measurements.items():
        print(f"  {key:{width}}  {value:,}")
    _write(record, options.results)
    return 0


def _stream(options: argparse.Namespace) -> int:
    if not options.models:
        raise UserError("bench stream takes --models, like s5,transformer")
    if options.name:
        raise UserError("bench stream writes a record for each model, so it takes no --name")
    options.task = options.task or "listops"
    _options.prepare_jax()
    from ssm_bench.config import override
    from ssm_bench.sweep.progress import Screen, parse_duration
    from ssm_bench.sweep.recipe import resolve
    from ssm_bench.train.run import check_sizes, make_program, open_data, writable
    from ssm_bench.train.stop import Stop
    from ssm_bench.train.stream import chunk_of, measure_stream

    lengths = _lengths(options.lengths)
    chunk_of(lengths)
    deadline = parse_duration("--deadline", options.deadline) if options.deadline else None
    configs = {}
    for model in options.models:
        config = resolve(model, options.task, preset="paper", data="synthetic", protocol=options.protocol)
        # A class token has no place in a stream; a table of a million positions is no part of a step.
        config.model.update(pooling="mean", positions="none")
        if "bidirectional" in config.mixer:
            config.mixer.bidirectional = False
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
            record = _record("stream", model, config, measurements, options, notes)
            screen.line("") if screen.live else None
            print(f"{model}, {record.device.count} x {record.device.kind}")
            print(f"  {'tokens':>9}  {'ms a token':>12}  {'one a call':>12}  {'state, bytes':>14}")
            for length in lengths:
                columns = [measurements.get(f"{n}_at_{length}") for n in ("latency_ms", "latency_ms_one_per_call")]
                shown = [f"{'-' if value is None else f'{value:.4f}':>12}" for value in columns]
                size = measurements.get(f"state_bytes_at_{length}")
                print(f"  {length:>9,}  {'  '.join(shown)}  {'-' if size is None else f'{size:,}':>14}")
            for note in notes:
                print(f"  {note}")
            _write(record, options.results)
            if stop.reason():
                break
    return 0


def _check_forward(config: Any) -> None:
    """Refuses what has no place in a stream that is read forward, position by position, without an end."""
    if config.mixer.get("bidirectional"):
        raise UserError("a stream is read forward: --config.mixer.bidirectional must be false; got true")
    for name, allowed in (("pooling", ("mean", "last")), ("positions", ("none",))):
        if config.model[name] not in allowed:
            raise UserError(
                f"in a stream --config.model.{name} must be {' or '.join(allowed)}; got {config.model[name]}"
            )


def _lengths(text: str) -> list[int]:
    try:
        return [int(length) for length in _options.names(text)]
    except ValueError:
        raise UserError(f"--lengths takes growing whole numbers like 1024,16384; got {text}") from None


def _record(
    kind: str,
    model: str,
    config: Any,
    measurements: dict[str, float],
    options: argparse.Namespace,
    notes: Sequence[str] = (),
) -> Any:
    from ssm_bench.record import config_hash, validate_speed
    from ssm_bench.train import provenance

    device = provenance.device()
    name = f"step-{model}-{options.task}" if kind == "step" else f"stream-{model}"
    return validate_speed(
        {
            "schema_version": 1,
            "kind": "speed",
            "name": options.name or f"{name}-{device['platform']}",
            "model": model,
            "task": options.task,
            "measurements": measurements,
            "notes": list(notes),
            "config_hash": config_hash(config.to_dict()),
            "device": device,
            "versions": provenance.versions(),
            "revision": provenance.revision(),
            "created": provenance.now(),
        }
    )


def _write(record: Any, results: Path) -> None:
    from ssm_bench.record import store

    print(f"written to {store.write_speed(record, results)}")
