"""`ssm-bench bench`: speed, measured and recorded."""

import argparse
import importlib
import re
from pathlib import Path

from ssm_bench.cli import _options
from ssm_bench.cli.bench import _shared
from ssm_bench.errors import UserError, unknown_name

HELP = "measure the speed of training steps, operations, streams or compilation, and write it as a record"
EXAMPLE = """examples:
  ssm-bench bench step --model s5 --task listops
  ssm-bench bench epoch --model s5 --task text
  ssm-bench bench compare --model s5 --task listops
  ssm-bench bench length --models s5,s4d,transformer --lengths 256,1024,4096,16384
  ssm-bench bench segments --models s5,lru --lengths 16384,131072,1048576 --segment 4096
  ssm-bench bench segments --models s5,lru --lengths 16384,131072,1048576 --devices 2
  ssm-bench bench scan --op selective_scan --backends auto,associative
  ssm-bench bench stream --models s5,lru,transformer --lengths 1024,16384,1048576
  ssm-bench bench compile --model s5 --task text

step times the training step, alone and in the loop. epoch counts the sequences a second over an epoch of real data,
whose documents differ in length. compare times the step with each of several backends, in one run. length times it
against the length of the input, with as many tokens in every batch. segments times it on one long sequence, at once
and in segments with a carried state (train.segment), with the causal version of each model; with --devices, at once on
several devices, which divide the time axis (train.divide). scan times one operation, forward and with its gradient, and
says how exact it is. stream times a token against its position in a single stream,
with the causal version of each model; the Transformer keeps a cache of the whole stream. compile times how long the
programs of a run take to trace, lower and compile without a cache; with --steps also a step.
Sizes are the published ones on synthetic data; --config.x.y=value changes those of models, --shapes those of scan.
A record with other settings than the published ones needs a --name; precision alone is in the default name."""

#: Each is a module here, with `run`.
KINDS = ("step", "epoch", "compare", "length", "segments", "scan", "stream", "compile")

#: Where the kinds differ in what is left out.
DEFAULTS = {
    "stream": {"task": "listops", "lengths": "1024,16384,131072,1048576"},
    "length": {"task": "text", "lengths": "256,1024,4096,16384", "steps": 20},
    "segments": {"task": "text", "lengths": "16384,65536,262144,1048576"},
    "compare": {"steps": 50},
    "compile": {"steps": 0, "data": "auto"},
}


#: Flags that only some kinds take.
ONLY = {
    "model": ("step", "epoch", "compare", "compile"),
    "models": ("length", "segments", "stream"),
    "lengths": ("length", "segments", "stream"),
    "tokens": ("length",),
    "segment": ("segments",),
    "devices": ("segments",),
    "op": ("scan",),
    "shapes": ("scan",),
    "backends": ("scan", "compare"),
    "data": ("epoch", "compile"),
    "brief": ("step",),
    "seeds": ("step",),
    "deadline": ("epoch", "length", "segments", "scan", "stream"),
}

#: What stands for a flag that was not given.
UNGIVEN = {"tokens": 65536, "segment": 4096, "devices": 1, "data": "real", "seeds": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this verb."""
    parser.add_argument("what", help="step, epoch, compare, length, segments, scan, stream or compile, as below")
    parser.add_argument("--model", default="", help="the model of step, epoch, compare and compile")
    parser.add_argument(
        "--models", type=_options.names, default=[], help="of length, segments and stream, comma-separated"
    )
    parser.add_argument(
        "--task", default="", help="whose recipe is taken (length, segments: default text, stream: listops)"
    )
    steps = "steps in the one long scan (default: 100; compare: 50, length: 20; compile: none is timed)"
    parser.add_argument("--steps", type=int, help=steps)
    parser.add_argument("--repeats", type=int, default=3, help="timings, of which the median counts (default: 3)")
    parser.add_argument(
        "--lengths", default="", help="of the input in length and segments, positions in stream: like 1024,16384"
    )
    parser.add_argument("--tokens", type=int, help=f"in a batch of length (default: {UNGIVEN['tokens']})")
    parser.add_argument("--segment", type=int, help=f"positions, of segments (default: {UNGIVEN['segment']})")
    parser.add_argument("--devices", type=int, help="of segments: devices that divide the time axis (default: 1)")
    parser.add_argument("--op", default="", help="of scan: selective_scan, rg_lru, linear_recurrence, diagonal_ssm")
    parser.add_argument("--shapes", type=_options.names, default=[], help="of scan: sizes, like 32x4096x256x64,...")
    parser.add_argument("--backends", type=_options.names, default=[], help="of scan, compare: auto,associative")
    parser.add_argument("--data", default="", help="of epoch and compile: real (default of epoch), synthetic or auto")
    parser.add_argument(
        "--brief", action="store_true", help="of step: the long scan only, not single steps and the loop"
    )
    parser.add_argument("--seeds", type=int, help="of step: in one program, as in sweep --together (default: 1)")
    parser.add_argument(
        "--deadline", default="", metavar="TIME", help="begin no new length, shape or call later, like 9m"
    )
    parser.add_argument(
        "--name",
        default="",
        help="of the record, with --models before -<model> (default: like step-<model>-<task>-<platform>)",
    )
    parser.add_argument("--protocol", default="strict", help="strict (default), paper or lra")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records (default: results)")
    _options.accept_compilation_cache(parser)
    _options.accept_overrides(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the verb: prints the figures and writes results/speed/<name>.json."""
    if options.what not in KINDS:
        raise unknown_name("bench", options.what, KINDS)
    for flag, kinds in ONLY.items():
        if options.what not in kinds and getattr(options, flag):
            raise UserError(f"bench {options.what} takes no --{flag}; it is for {', '.join(kinds)}")
    for flag in ("steps", "repeats", "tokens", "segment", "devices", "seeds"):
        if (given := getattr(options, flag)) is not None and given < 1:
            raise UserError(f"--{flag} must be at least 1; got {given}")
    for name, value in (UNGIVEN | {"steps": 100} | DEFAULTS.get(options.what, {})).items():
        if getattr(options, name) in ("", None):
            setattr(options, name, value)
    if options.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", options.name):
        raise UserError(f"--name takes letters, digits, '.', '_' and '-'; got {options.name!r}")
    if options.what != "scan":
        _shared.need_name_for_changes(options)
    options.backends = options.backends or ["auto", "associative"]
    return importlib.import_module(f"{__name__}.{options.what}").run(options)
