"""What makes two runs the same run."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Parts of a config that do not change what is computed (report), or stand in the path beside the hash.
NOT_HASHED = ("report", "seed", "preset")
#: Settings younger than the first records. At these values a run is what it was before there was a choice.
ADDED = {
    "model": {"precision": "float32", "context": 0, "encoder_init": "lecun_normal"},
    "train": {"lengths": 1, "norm_batches": 0},
}
DIGITS = 12


def config_hash(config: Mapping[str, Any]) -> str:
    """The identity of a resolved config: 12 hexadecimal digits, the same for every seed and preset.

    Args:
        config: the resolved config as nested dicts of JSON values.

    Raises:
        ValueError: a number that is not finite.
        TypeError: a value that JSON does not know.
    """
    hashed = {key: value for key, value in config.items() if key not in NOT_HASHED}
    for section, settings in ADDED.items():
        if isinstance(given := hashed.get(section), Mapping):
            hashed[section] = {key: value for key, value in given.items() if settings.get(key) != value}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
