"""The recipe of a configuration: its settings that differ from the defaults of this code."""

import inspect
from typing import Any

from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.config import leaves
from ssm_bench.network.build import SLOTS, options_of
from ssm_bench.record import config_hash, differences, run_name
from ssm_bench.record.identity import base_defaults


def recipe(config: ConfigDict) -> dict[str, Any]:
    """The settings that determine the name of a run: see `record.identity.differences`."""
    defaults = dict(base_defaults())
    for section, package, interface in SLOTS:
        options = options_of(registry.subclass(package, config.model[section], interface))
        given = {name: value for name, value in options.items() if value is not inspect.Parameter.empty}
        defaults |= leaves({section: given})
    return differences(config.to_dict(), defaults)


def name_of(config: ConfigDict, checksum: str, seeds: tuple[int, ...] = ()) -> str:
    """The name of a run's record and of its checkpoints.

    Args:
        config: resolved by `open_data`.
        checksum: checksum of the data.
        seeds: the seeds of several runs in one program, instead of the configuration's seed.
    """
    return run_name(config_hash(recipe(config)), checksum, seeds or (config.seed,))
