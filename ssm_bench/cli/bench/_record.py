"""What all kinds of `ssm-bench bench` share: reading --lengths, opening a model's recipe, writing the record."""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ssm_bench.cli import _options
from ssm_bench.errors import UserError


def lengths_of(options: argparse.Namespace) -> list[int]:
    """--lengths as growing whole numbers.

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


def model_and_task(options: argparse.Namespace) -> None:
    """Asks for --model and --task.

    Raises:
        UserError: one is missing.
    """
    if not (options.model and options.task):
        raise UserError(f"bench {options.what} takes --model and --task")


def changes(options: argparse.Namespace) -> list[str]:
    """What was asked for beside the published recipe, as flags."""
    found = list(options.overrides)
    if options.protocol != "strict":
        found.append(f"--protocol={options.protocol}")
    if options.data == "synthetic":
        found.append("--data=synthetic")
    return found


def name_for_changes(options: argparse.Namespace) -> None:
    """Asks for --name where the default name would pass other settings off as the published ones.

    Raises:
        UserError: there is none.
    """
    from ssm_bench.report.speed import PRECISION

    unnamed = [change for change in changes(options) if not change.startswith(PRECISION)]
    if unnamed and not options.name:
        raise UserError(
            f"bench {options.what} with other settings than the published ones takes a --name for its record, "
            f"like --name my-{options.what}; got {' '.join(unnamed)} without one"
        )


def recipe(options: argparse.Namespace, model: str, *, length: int = 0) -> Any:
    """The published recipe on synthetic data, with the length of the task or another, and few steps.

    Documents are padded to one length, so that a step is always the same.
    """
    from ssm_bench.data import spec
    from ssm_bench.sweep.recipe import resolve

    config = resolve(model, options.task, preset="paper", data="synthetic", protocol=options.protocol)
    config.task.max_length = length or spec(options.task).max_length
    config.train.update(steps=4 * config.train.chunk, evaluations=1, lengths=1)
    return config


def sizes(config: Any) -> dict[str, int]:
    """What the tables need to know of the model: layers, width, ways of reading the input, bits of an activation."""
    model = config.model
    return {
        "layers": model.layers,
        "d_model": model.d_model,
        "directions": 2 if config.mixer.get("bidirectional") else 1,
        "activation_bits": 32 if model.precision == "float32" else 16,
    }


def write(
    options: argparse.Namespace,
    default_name: str,
    measurements: Mapping[str, float | None],
    *,
    model: str | None = None,
    operation: str = "",
    config: Any = None,
    notes: Sequence[str] = (),
) -> None:
    """Writes the record and says where.

    To the default name precision is added, where it is not float32, the platform, and the kind of device, where there
    is a record of another kind. A --name is the whole name, but where there is a record for each of --models: there the
    model is added.
    """
    from ssm_bench.record import config_hash, store, validate_speed
    from ssm_bench.train import provenance
    from ssm_bench.train.identity import recipe as named_by

    device = provenance.device()
    if config is not None and config.model.precision != "float32":
        default_name += f"-{config.model.precision}"
    own_name = f"{options.name}-{model}" if options.name and options.models else options.name
    changed = changes(options) if model else []
    notes = [*notes, f"with {' '.join(changed)}" if changed else "", provenance.note()]
    record = {
        "schema_version": 1,
        "kind": "speed",
        "name": own_name or f"{default_name}-{device['platform']}",
        "model": model,
        "task": options.task if model else None,
        "measurements": measurements,
        "notes": [note for note in notes if note],
        "config_hash": None if config is None else config_hash(named_by(config)),
        "device": device,
        "versions": provenance.versions(),
        "revision": provenance.revision(),
        "created": provenance.now(),
    }
    if operation:
        record["operation"] = operation
    measured = validate_speed(record)
    if not own_name:
        measured = store.apart_by_device(measured, options.results)
    print(f"written to {store.write_speed(measured, options.results)}")


def device_words() -> str:
    """Number and kind of the devices."""
    from ssm_bench.train import provenance

    device = provenance.device()
    return f"{device['count']} x {device['kind']}"
