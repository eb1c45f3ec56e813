"""Provenance of results: code revision, versions, device."""

import base64
import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax

from ssm_bench import __version__, registry
from ssm_bench.errors import UserError, printable

#: The folder of this package.
PACKAGE = Path(__file__).resolve().parents[1]

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results, and JAX's double precision if it is enabled."""
    found = {"python": platform.python_version(), "ssm_bench": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    if jax.config.read("jax_enable_x64"):
        found["jax_enable_x64"] = "true"
    return found


def device(used: int = 1) -> dict[str, Any]:
    """Platform, kind and number of the devices in use, which may be fewer than those available."""
    first = jax.devices()[0]
    kind = _processor() if first.platform == "cpu" else first.device_kind
    return {"platform": first.platform, "kind": kind, "count": used}


def _processor() -> str:
    """The processor's name where Linux reports it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] else platform.machine()


def note() -> str:
    """The value of the environment variable `SSM_BENCH_NOTE`, a remark for the record; empty if it is not set.

    Raises:
        UserError: the value is not UTF-8 text.
    """
    text = os.environ.get("SSM_BENCH_NOTE", "")
    if text != printable(text):
        raise UserError(f"SSM_BENCH_NOTE must be UTF-8 text without control characters; got {text!a}")
    return text


def shared() -> bool:
    """Whether other programs use this device now: `SSM_BENCH_SHARED` is set, or the NVIDIA driver lists some."""
    return bool(os.environ.get("SSM_BENCH_SHARED")) or _others_on_gpu()


def _others_on_gpu() -> bool:
    """Whether the NVIDIA driver lists other processes on a GPU of this process.

    False if this is unknown: without a GPU, without `nvidia-smi`, or in a container that hides process IDs.
    """
    if jax.default_backend() != "gpu":
        return False
    command = ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    processes = [(gpu.strip(), pid.strip()) for gpu, _, pid in (line.partition(",") for line in listed.splitlines())]
    own = {gpu for gpu, pid in processes if pid == str(os.getpid())}
    return any(gpu in own and pid != str(os.getpid()) for gpu, pid in processes)


def part(devices: int = 1, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The code, devices and libraries that train a run now, and whether the device is shared; JSON values."""
    return {
        "revision": revision(),
        "code": code_of_run(config or {}),
        "device": device(devices),
        "shared": shared(),
        "note": note(),
        "versions": versions(),
    }


def peak_memory_bytes() -> int | None:
    """Peak device memory of this process so far; None if the device does not report it (CPU)."""
    statistics = jax.devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")


def needed_memory_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Peak memory of a compiled program: arguments, results and temporary arrays; None if it is unknown."""
    if (memory := compiled.memory_analysis()) is None:
        return None
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return int(needed - memory.alias_size_in_bytes)


@cache
def code(package: Path = PACKAGE) -> str:
    """The identity of the code of the package: a hash of the names and bytes of its modules, 12 hexadecimal digits.

    Experiment files are excluded, since configurations contain their settings. The first result of a process is cached,
    since modules that change later are not loaded again.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.is_relative_to(package / "experiments"):
            continue  # In a checkout it is a symbolic link, which rglob does not follow before Python 3.13.
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(package).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:12]


def code_of_run(config: Mapping[str, Any]) -> str:
    """The identity of the code of a run: `code`, together with the plug-ins that its configuration names."""
    model, task = config.get("model", {}), config.get("task", {}).get("name", "").partition("-")[0]
    used = {"mixers": model.get("mixer", ""), "scaffolds": model.get("scaffold", ""), "tasks": task}
    foreign = "".join(registry.code_of(package, name) for package, name in used.items())
    return hashlib.sha256(f"{code()}{foreign}".encode()).hexdigest()[:12] if foreign else code()


def revision(package: Path = PACKAGE) -> dict[str, Any]:
    """The git commit of the package, and whether its code differs from it.

    The code consists of the package and the experiments next to it. Changed, deleted and new files count as
    differences, unless git ignores them. Experiments in another folder (SSM_BENCH_EXPERIMENTS) belong to no commit.

    - SSM_BENCH_REVISION gives the commit of a copy without git, followed by "+dirty" if files differ.
    - A package installed by pip has the revision "version <version>"; it is dirty if an installed file has changed.
    - Any other package without its own git repository is "unknown" and dirty. A repository that contains it does not
      count unless its top level is the folder above the package and it tracks the package's files.
    """
    if told := os.environ.get("SSM_BENCH_REVISION"):
        commit, _, state = told.partition("+")
        return {"commit": commit, "dirty": state == "dirty"}
    return _of_git(package) or _of_installation(package) or {"commit": "unknown", "dirty": True}


def _of_git(package: Path) -> dict[str, Any] | None:
    # For example, git hooks set variables that refer to another repository.
    environment = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE")}

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", *arguments], cwd=package, env=environment, capture_output=True, text=True, check=True, timeout=30
        )
        return run.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != package.resolve().parent or not git("ls-files", "."):
            return None
        changed = git("status", "--porcelain", "--", ".", "../experiments")
        elsewhere = bool(os.environ.get("SSM_BENCH_EXPERIMENTS"))
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed) or elsewhere}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _of_installation(package: Path) -> dict[str, Any] | None:
    """The version of an installed package whose folder this is; None for any other folder."""
    try:
        distribution = importlib.metadata.distribution("ssm_bench")
    except importlib.metadata.PackageNotFoundError:
        return None
    files = [file for file in distribution.files or () if file.hash and file.suffix == ".py"]
    installed = {Path(str(file.locate())).resolve(): file.hash for file in files}
    if package.resolve() / "__init__.py" not in installed:
        return None
    dirty = any(_hash(path, known.mode) != known.value for path, known in installed.items() if known)
    strangers = {path.resolve() for path in package.rglob("*.py")} - set(installed)
    return {"commit": f"version {distribution.version}", "dirty": dirty or bool(strangers)}


def _hash(path: Path, mode: str) -> str:
    """The hash of a file as pip records it; empty if there is no such file."""
    if not path.is_file():
        return ""
    digest = hashlib.new(mode, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
