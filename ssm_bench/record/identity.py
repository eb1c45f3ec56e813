"""The identity of a run: its recipe, its data and its seed.

The name of a recipe is a hash of the settings that differ from their defaults. A new setting therefore changes no name
if its default is the behavior of earlier runs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ssm_bench.config import base_config, leaves, merged

#: Settings that say where data are stored and what devices divide; results differ by rounding at most.
PLACEMENT = ("train.data_on", "train.divide")

#: Sections and settings that are not part of a recipe: they change no result, or are another part of the path.
NOT_NAMED = ("report", "seed", "preset", "model.scan_layers", *PLACEMENT)

#: Setting -> the value at which it is left out of a hash, if this is not its default.
#:
#: If you change a default, or add a setting whose default differs from the behavior of earlier runs, add the value of
#: existing runs here. Their names then stay the same, and runs with the new default get new names. The name of an
#: option of a mixer or scaffold includes its module, as in "mixer.s5.blocks". Never change or remove entries.
UNNAMED = {"train.lengths": 1, "train.norm_batches": 0}

HASH_DIGITS = 12
CHECKSUM_DIGITS = 8


#: Sections whose settings are the options of a class, with the defaults of its constructor.
OF_CLASSES = ("mixer", "scaffold")


@cache
def base_defaults() -> dict[str, Any]:
    """Full name -> default of every setting, except for the options of mixers and scaffolds."""
    return leaves(base_config("").to_dict())


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of an earlier version, completed by later settings with the values of its runs.

    Options of mixers and scaffolds are unchanged, since their classes have the defaults.
    """
    defaults = base_config("").to_dict()
    for name, value in UNNAMED.items():
        section, _, option = name.partition(".")
        if section not in OF_CLASSES:
            defaults[section][option] = value
    return merged(defaults, config)


def differences(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a configuration that its hash is computed from, by their full names.

    Args:
        config: the resolved configuration as nested dicts of JSON values.
        defaults: full name -> default value.

    Returns:
        Full name -> value of each setting that differs from the value at which it is left out.
    """
    found = {}
    for name, value in leaves(dict(config)).items():
        if name in NOT_NAMED or name.partition(".")[0] in NOT_NAMED:
            continue
        unnamed = UNNAMED.get(_unique(name, config), defaults.get(name, _NO_DEFAULT))
        if unnamed is _NO_DEFAULT or _text(value) != _text(unnamed):
            found[name] = value
    return dict(sorted(found.items()))


_NO_DEFAULT = object()


def _unique(name: str, config: Mapping[str, Any]) -> str:
    """The name of a setting in `UNNAMED`: options of different mixers share names."""
    section, _, option = name.partition(".")
    if section in OF_CLASSES:
        return f"{section}.{config['model'][section]}.{option}"
    return name


def contradiction(config: Mapping[str, Any], differences_: Mapping[str, Any]) -> str:
    """A contradiction between a configuration and its stored differences; empty if there is none.

    Options of mixers and scaffolds are compared only if they are listed, since only their classes know whether one is
    missing.
    """
    settings, listed = leaves(dict(config)), set(differences_)
    for name, value in differences_.items():
        if _text(settings.get(name)) != _text(value):
            return f"{name} is {value!r}, but the config says {settings.get(name)!r}"
    expected = {name for name in differences(config, base_defaults()) if name.partition(".")[0] not in OF_CLASSES}
    if missing := sorted(expected - listed):
        return f"{missing[0]} is missing, which the config sets to {settings[missing[0]]!r}"
    return ""


def config_hash(differences: Mapping[str, Any]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of the differences as compact JSON with sorted keys.

    1 and 1.0 have the same hash, since a setting may be written either way.

    Raises:
        ValueError: a number is not finite.
        TypeError: JSON does not support a value.
    """
    return hashlib.sha256(_text(differences).encode()).hexdigest()[:HASH_DIGITS]


def run_name(config_hash: str, checksum: str, seeds: Sequence[int]) -> str:
    """The name of a run, "<hash>-<first digits of the data's checksum>-s<seed>"; several seeds are joined by "-"."""
    return f"{config_hash}-{checksum[:CHECKSUM_DIGITS]}-s{'-'.join(map(str, seeds))}"


def _text(value: Any) -> str:
    return json.dumps(_whole(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _whole(value: Any) -> Any:
    """Whole numbers as integers, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
