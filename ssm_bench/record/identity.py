"""What makes two runs the same run."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: Parts of a config that do not change what is computed (report), or stand in the path beside the hash.
NOT_HASHED = ("report", "seed", "preset")
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
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
