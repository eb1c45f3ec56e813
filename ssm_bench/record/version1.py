"""Converts records of schema version 1 to version 2.

In version 1, the name of a run was a hash of all of its settings, runs of one recipe on different data sets had the
same path, and `message` contained information that version 2 stores in fields.
"""

import re
from typing import Any

from ssm_bench.config import leaves
from ssm_bench.record.identity import base_defaults, config_hash, differences

#: The defaults of all mixers and scaffolds when version 2 was introduced. They must not follow later changes.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "mixer": {
        "attention": {
            "heads": 4,
            "kv_heads": 0,
            "width": 0,
            "window": 0,
            "rotary": False,
            "output_bias": False,
            "bidirectional": True,
            "max_steps": 1024,
        },
        "bigbird": {"heads": 4, "width": 0, "block": 64, "random_blocks": 3, "seed": 0},
        "diagonal_rnn": {
            "state_size": 64,
            "r_min": 0.0,
            "r_max": 1.0,
            "max_phase": 6.283185307179586,
            "bidirectional": False,
        },
        "dss": {
            "state_size": 64,
            "version": "softmax",
            "kernel_length": 16384,
            "init": "legs",
            "copies": 1,
            "dt_min": 0.001,
            "dt_max": 0.1,
            "separate_steps": True,
            "bidirectional": True,
        },
        "fourier": {},
        "gru": {"state_size": 0, "bidirectional": False},
        "h3": {
            "state_size": 64,
            "shift_size": 64,
            "init": "lin",
            "dt_min": 0.001,
            "dt_max": 0.1,
            "discretization": "bilinear",
            "bidirectional": True,
        },
        "linear_attention": {"heads": 4, "width": 0, "bidirectional": True},
        "linear_rnn": {"state_size": 64, "radius": 1.0, "bidirectional": False},
        "lru": {"state_size": 64, "r_min": 0.0, "r_max": 1.0, "max_phase": 6.283185307179586, "bidirectional": False},
        "lsh_attention": {"heads": 4, "width": 0, "chunk": 64, "buckets": 10, "rounds": 1, "seed": 0},
        "lssl": {"state_size": 16, "trainable": True, "dt_min": 0.001, "dt_max": 0.1, "bidirectional": True},
        "lstm": {"state_size": 0, "bidirectional": False},
        "luna": {"heads": 4},
        "nystrom": {"heads": 2, "width": 0, "landmarks": 64, "inverse_steps": 6, "taps": 35, "bias": True},
        "performer": {"heads": 4, "width": 0, "kernel": "relu", "random_features": 0, "bidirectional": True},
        "rg_lru": {"blocks": 1, "init": "griffin", "r_min": 0.9, "r_max": 0.999, "bidirectional": False},
        "s4": {
            "state_size": 64,
            "init": "legs",
            "copies": 0,
            "dt_min": 0.001,
            "dt_max": 0.1,
            "bidirectional": True,
            "truncate": True,
        },
        "s4d": {
            "state_size": 64,
            "init": "legs",
            "copies": 0,
            "dt_min": 0.001,
            "dt_max": 0.1,
            "discretization": "zoh",
            "bidirectional": True,
        },
        "s5": {
            "state_size": 64,
            "blocks": 1,
            "output_init": "lecun_normal",
            "dt_min": 0.001,
            "dt_max": 0.1,
            "clip_eigenvalues": False,
            "discretization": "zoh",
            "bidirectional": True,
        },
        "s6": {
            "state_size": 16,
            "complex_states": False,
            "dt_rank": 0,
            "dt_min": 0.001,
            "dt_max": 0.1,
            "bidirectional": False,
        },
        "ssd": {"state_size": 128, "heads": 4, "dt_min": 0.001, "dt_max": 0.1, "bidirectional": False},
    },
    "scaffold": {
        "gated_mlp": {"mlp_expand": 3.0},
        "glu": {"activation": "glu"},
        "griffin": {"expand": 1.3333333333333333, "taps": 4, "mlp_expand": 3.0, "heads": 1, "window": 1024},
        "h3": {"shift_size": 64, "width": 0},
        "hawk": {"expand": 1.3333333333333333, "taps": 4, "mlp_expand": 3.0},
        "mamba": {"expand": 2.0, "taps": 4, "norm_gated": False, "glu": False},
        "mlp": {"width": 0},
    },
}

#: Settings that were added during version 1 and whose default differs from the behavior of earlier runs, which have no
#: value for them.
YOUNGER = ("model.embedding_std", "model.input_dropout", "model.paper_padding")

#: The text in the message of a run that shared its device.
NO_MEASURE = "no measure of speed"

_TOGETHER = re.compile(rf"one program for seeds ([\d, ]+), so its times are a share and {NO_MEASURE}")
_PARTS = "trained in parts by "
_PART = re.compile(r"commit (?P<commit>[^ +]+)(?P<dirty>\+dirty)? on ((?P<count>\d+) x )?(?P<kind>.+)")


def upgrade(raw: dict[str, Any]) -> dict[str, Any]:
    """The equivalent record of version 2, with fields that follow from its settings and code."""
    config, told = raw["config"], _told(raw["message"], raw["status"], raw["device"]["platform"])
    named = _differences(config)
    return raw | {
        "schema_version": 2,
        "message": told["message"],
        "notes": told["notes"],
        "differences": named,
        "config_hash": config_hash(named),
        "together": told["together"],
        "computed": _computed(config, raw["device"]["platform"]),
        "device": raw["device"] | {"shared": told["shared"]},
        "code": None,
        "parts": told["parts"],
    }


def _differences(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that are hashed. Settings that the run did not have yet are null."""
    defaults, expected = base_defaults(), [*YOUNGER]
    for section, classes in OPTIONS.items():
        options = classes.get(config.get("model", {}).get(section), {})
        defaults = defaults | leaves({section: options})
        expected = [*expected, *leaves({section: options})]
    unset = [name for name in expected if name not in leaves(config)]
    return dict(sorted((differences(config, defaults) | dict.fromkeys(unset)).items()))


def _told(message: str, status: str, platform: str) -> dict[str, Any]:
    """The items of information in a message."""
    told: dict[str, Any] = {"message": "", "notes": [], "together": [], "shared": False, "parts": []}
    said = []
    for sentence in message.split("; "):
        if match := _TOGETHER.fullmatch(sentence):
            told["together"] = [int(seed) for seed in match[1].split(", ")]
        elif sentence.startswith(_PARTS) and (parts := _parts(sentence.removeprefix(_PARTS), platform)):
            told["parts"] = parts
        elif NO_MEASURE in sentence:
            told["shared"] = True
            told["notes"].append(sentence)
        # The message of a successful run contained only remarks; in other messages, remarks came last.
        elif sentence and (status == "ok" or told["parts"] or told["shared"]):
            told["notes"].append(sentence)
        else:
            said.append(sentence)
    return told | {"message": "; ".join(filter(None, said))}


def _parts(text: str, platform: str) -> list[dict[str, Any]]:
    """The parts of a run; none if the text is not from version 1. Library versions were not recorded."""
    found = [_PART.fullmatch(part) for part in re.split(r", (?=commit )", text)]
    if not all(found):
        return []
    return [
        {
            "revision": {"commit": part["commit"], "dirty": bool(part["dirty"])},
            "device": {"platform": platform, "kind": part["kind"], "count": int(part["count"] or 1)},
            "versions": {},
        }
        for part in found
        if part
    ]


def _computed(config: dict[str, Any], platform: str) -> dict[str, str]:
    """Operations in lower precision: on GPUs, softmax attention was computed in bfloat16 for all settings.

    This applied to the mixer "attention" and to every third block of Griffin, except for bidirectional attention with a
    window shorter than the sequence.
    """
    settings = leaves(config)
    if platform != "gpu" or settings.get("model.precision", "float32") != "float32":
        return {}
    if settings.get("model.scaffold") == "griffin" and settings.get("model.layers", 0) > 2:
        window = settings.get("scaffold.window", 0)
    elif settings.get("model.mixer") == "attention":
        window = settings.get("mixer.window", 0)
    else:
        return {}
    local = 0 < window < settings.get("task.max_length", 0)
    return {} if local and settings.get("mixer.bidirectional", True) else {"attention": "bfloat16"}


# Version 1 of speed records had all numbers in one map. A name such as "auto_forward_ms_at_32x4096x256" contained
# backend, metric and shape.

_SIZES = ("activation_bits", "batch_size", "d_model", "directions", "layers", "length", "seeds", "tokens")
_OF_OPERATION = "forward_ms|forward_backward_ms|temporary_bytes|output_bytes|value_error|gradient_error"
_OF_STEP = "step_ms|step_ms_one_per_call|compile_seconds|temporary_bytes|sequences_per_second|times_faster"
_AT_SHAPE = re.compile(r"(?P<metric>.+)_at_(?P<shape>\d+(x\d+)*)")
_WITH_BACKEND = {
    "scan": re.compile(rf"(?P<backend>[a-z]+)_(?P<metric>{_OF_OPERATION})"),
    "compare": re.compile(rf"(?P<backend>[a-z]+)_(?P<metric>{_OF_STEP})"),
}
_FLAGS = re.compile(r"with (?P<flags>--\S.*)")
_RUNS = re.compile(r"the fastest of at least (?P<runs>\d+) runs on this kind of device")
_BESIDE_OTHERS = "alone it may be faster"


def upgrade_speed(raw: dict[str, Any]) -> dict[str, Any]:
    """The speed record of version 2 with the same content."""
    benchmark = _benchmark(raw)
    sizes, measurements = {}, []
    for name, value in raw["measurements"].items():
        if name in _SIZES and isinstance(value, int):
            sizes[name] = value
        else:
            measurements.append(_measurement(benchmark, name, value))
    found = {"overrides": {}, "runs": 1, "notes": []}
    for note in raw.get("notes", []):
        if match := _FLAGS.fullmatch(note):
            flags = [flag.removeprefix("--").partition("=") for flag in match["flags"].split()]
            found["overrides"] |= {name: value for name, _, value in flags}
        elif match := _RUNS.fullmatch(note):
            found["runs"] = int(match["runs"])
        else:
            found["notes"].append(note)
    shared = any(_BESIDE_OTHERS in note for note in found["notes"])
    return raw | {
        "schema_version": 2,
        "benchmark": benchmark,
        "sizes": sizes,
        "measurements": sorted(measurements, key=lambda m: (m["shape"], m["backend"], m["metric"])),
        **found,
        "device": raw["device"] | {"shared": shared},
    }


def _benchmark(raw: dict[str, Any]) -> str:
    """Which benchmark wrote a record of version 1."""
    names = raw["measurements"]
    if raw.get("operation"):
        return "scan"
    if "epoch_step_ms" in names:
        return "epoch"
    if any(name.endswith("_times_faster") for name in names):
        return "compare"
    if any(name.startswith("step_ms_at_") for name in names):
        return "length"
    return "stream" if "parameters" in names or any(name.startswith("state_bytes_at_") for name in names) else "step"


def _measurement(benchmark: str, name: str, value: Any) -> dict[str, Any]:
    shape, backend = [], ""
    if match := _AT_SHAPE.fullmatch(name):
        name, shape = match["metric"], [int(size) for size in match["shape"].split("x")]
    if benchmark in _WITH_BACKEND and (match := _WITH_BACKEND[benchmark].fullmatch(name)):
        name, backend = match["metric"], match["backend"]
    return {"metric": name, "backend": backend, "shape": shape, "value": value}
