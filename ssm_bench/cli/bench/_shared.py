"""What all kinds of `ssm-bench bench` share: flags that several take, and the record that each writes."""

import argparse
import itertools
from collections.abc import Callable
from typing import Any

from ssm_bench.cli import _options
from ssm_bench.errors import UserError


def lengths_of(options: argparse.Namespace) -> list[int]:
    """--lengths as increasing whole numbers.

    Raises:
        UserError: anything else.
    """
    try:
        found = [int(length) for length in _options.parts(options.lengths)]
    except ValueError:
        found = []
    if not found or found[0] < 1 or any(b <= a for a, b in itertools.pairwise(found)):
        raise UserError(f"--lengths takes growing whole numbers like 1024,16384; got {options.lengths}")
    return found


def deadline_of(options: argparse.Namespace) -> float | None:
    """--deadline in seconds; None without one.

    Raises:
        UserError: not a time.
    """
    from ssm_bench.sweep.progress import parse_duration

    return parse_duration("--deadline", options.deadline) if options.deadline else None


def need_model_and_task(options: argparse.Namespace) -> None:
    """Checks that --model and --task are given.

    Raises:
        UserError: one is missing.
    """
    if not (options.model and options.task):
        raise UserError(f"bench {options.what} takes --model and --task")


def changes(options: argparse.Namespace) -> dict[str, str]:
    """The settings that differ from the published recipe, by the names of their flags."""
    found = dict(flag.removeprefix("--").partition("=")[::2] for flag in options.overrides)
    if options.protocol != "strict":
        found["protocol"] = options.protocol
    if options.data == "synthetic":
        found["data"] = "synthetic"
    return found


def need_name_for_changes(options: argparse.Namespace) -> None:
    """Checks that a record of other settings than the published ones does not get the default name.

    Raises:
        UserError: it would.
    """
    from ssm_bench.report.speed import PRECISION

    unnamed = [f"--{name}={value}" for name, value in changes(options).items() if name != PRECISION]
    if unnamed and not options.name:
        raise UserError(
            f"bench {options.what} with other settings than the published ones takes a --name for its record, "
            f"like --name my-{options.what}; got {' '.join(unnamed)} without one"
        )


def recipe(options: argparse.Namespace, model: str, *, length: int = 0) -> Any:
    """The published recipe on synthetic data with the overrides, for a few steps.

    Documents are padded to one length, that of the task unless another is given, so that all steps are equal.
    """
    from ssm_bench.data import spec

    def shorten(config: Any) -> None:
        config.task.max_length = length or spec(options.task).max_length
        config.train.update(steps=4 * config.train.chunk, evaluations=1, lengths=1)

    return changed_recipe(options, model, shorten)


def changed_recipe(options: argparse.Namespace, model: str, change: Callable[[Any], None]) -> Any:
    """The published recipe on synthetic data, changed in place by `change` and then by the overrides."""
    from ssm_bench.config import override
    from ssm_bench.sweep.recipe import resolve

    config = resolve(model, options.task, preset="paper", data="synthetic", protocol=options.protocol)
    change(config)
    return override(config, options.overrides)


def name_of(options: argparse.Namespace, model: str) -> str:
    """The default name of the record of one of several models; the task is part of it if it is not the default."""
    # The package imports this module.
    from ssm_bench.cli.bench import DEFAULTS

    name = f"{options.what}-{model}"
    return name if options.task == DEFAULTS[options.what]["task"] else f"{name}-{options.task}"


def show(findings: Any) -> None:
    """Prints every number that has neither backend nor shape."""
    found = {m.metric: m.value for m in findings.measurements if not (m.backend or m.shape)} | findings.sizes
    width = max(map(len, found))
    for name, value in found.items():
        print(f"  {name:{width}}  {value:,}")


def write(options: argparse.Namespace, findings: Any, default_name: str, **what: Any) -> None:
    """Writes the record and prints its path; the other arguments are those of `bench.recording.write`."""
    from ssm_bench.bench import recording

    name = options.name
    if name and options.models:
        name += f"-{what['model']}"
    if what.get("model"):
        what |= {"task": options.task, "overrides": changes(options)}
    path = recording.write(
        findings, options.results, benchmark=options.what, default_name=default_name, name=name, **what
    )
    print(f"written to {path}")


def device_words(devices: int = 1) -> str:
    """Number and kind of the devices."""
    from ssm_bench.training import provenance

    device = provenance.device(devices)
    return f"{device['count']} x {device['kind']}"
