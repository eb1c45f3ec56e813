"""Where a number comes from: code revision, versions, device."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from ssm_bench import __version__

#: The folder of this package.
PACKAGE = Path(__file__).resolve().parents[1]

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the numbers."""
    found = {"python": platform.python_version(), "ssm_bench": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def device(used: int = 1) -> dict[str, Any]:
    """Platform, kind and number of the devices that work is done on, however many there are."""
    first = jax.devices()[0]
    kind = _processor() if first.platform == "cpu" else first.device_kind
    return {"platform": first.platform, "kind": kind, "count": used}


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.machine()


def note() -> str:
    """What `SSM_BENCH_NOTE` says of the circumstances; empty where it is not set."""
    return os.environ.get("SSM_BENCH_NOTE", "")


def peak_memory_bytes() -> int | None:
    """The most device memory in use so far in this process; None where the device does not tell (CPU)."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def needed_memory_bytes(compiled: jax.stages.Compiled) -> int | None:
    """What a compiled program takes at once: arguments, results and what lies between; None where it is not told."""
    if (memory := compiled.memory_analysis()) is None:
        return None
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return int(needed - memory.alias_size_in_bytes)


def revision(package: Path = PACKAGE) -> dict[str, Any]:
    """The git commit of this checkout, and whether code differs from it; a checkout without git is "unknown".

    Code is the package in the folder `package` and the experiments beside it: files changed, deleted or new, unless git
    ignores them. Experiments in another folder (SSM_BENCH_EXPERIMENTS) are told by no commit. A machine that holds a
    copy without git is told by SSM_BENCH_REVISION: the commit, with "+dirty" behind it where files differ.
    """
    if told := os.environ.get("SSM_BENCH_REVISION"):
        commit, _, state = told.partition("+")
        return {"commit": commit, "dirty": state == "dirty"}

    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, check=True, timeout=30)
        return run.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", "../experiments")
        elsewhere = bool(os.environ.get("SSM_BENCH_EXPERIMENTS"))
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed) or elsewhere}
    except (OSError, subprocess.SubprocessError):
        return {"commit": "unknown", "dirty": True}
