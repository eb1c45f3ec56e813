"""Options that several verbs share."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ssm_bench.config import LARGEST_INTEGER
from ssm_bench.errors import UserError


def add_cell_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that describe a cell, except for model and task, and those that control its run."""
    describe_cell(parser)
    parser.add_argument("--devices", default="1", metavar="N", help="devices that share each batch (default: 1)")
    parser.add_argument("--deadline", default="", metavar="TIME", help="save and exit before this time, e.g. 9m")
    again = "repeat finished runs from the start; interrupted runs are resumed"
    parser.add_argument("--rerun", action="store_true", help=again)
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of records (default: results)")
    parser.add_argument("--track", default="", help="also report progress to tensorboard, trackio or wandb")
    accept_compilation_cache(parser)


def accept_compilation_cache(parser: argparse.ArgumentParser) -> None:
    """Adds the option --compilation-cache."""
    words = "folder of compiled programs; may be copied to a machine of the same kind (default: a folder in ~/.cache)"
    parser.add_argument("--compilation-cache", type=Path, metavar="DIR", help=words)


def describe_cell(parser: argparse.ArgumentParser) -> None:
    """Adds the options that describe a cell, except for model and task, and accepts --config.x.y=value."""
    parser.add_argument("--protocol", default="strict", help="strict (default), paper or lra")
    parser.add_argument(
        "--data", default="", help="real, synthetic, or auto: real if found (default: auto for quick, else real)"
    )
    parser.add_argument("--share", type=number, help="share of the published steps, in (0, 1]")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"), help="default: checkpoints")
    accept_overrides(parser)


def accept_overrides(parser: argparse.ArgumentParser) -> None:
    """Accepts --config.x.y=value."""
    parser.add_argument_group("settings", "--config.x.y=VALUE changes any setting, e.g. --config.model.d_model=64")
    parser.set_defaults(overrides=[])


def choices(options: argparse.Namespace) -> Any:
    """The `Choices` that `add_cell_arguments` and --preset describe."""
    from ssm_bench.sweep.cells import Choices

    # --model package.module:Class may name a file of the working directory.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return Choices(
        preset=options.preset,
        protocol=options.protocol,
        data=options.data,
        share=options.share,
        overrides=tuple(options.overrides),
    )


def number(text: str) -> float:
    """Parses a number for argparse; the error message shows the given text."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number; got {text!r}") from None


def names(text: str) -> list[str]:
    """Parses a comma-separated list for argparse; an empty list is an error, since an unset variable would mean all."""
    found = parts(text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be comma-separated names; got {text!r}")
    return found


def parts(text: str) -> list[str]:
    """The non-empty items of a comma-separated list."""
    return [part for part in text.split(",") if part]


def once(flag: str, given: Sequence[str | int]) -> None:
    """Checks that a list has no duplicates, for which two processes would train the same run.

    Raises:
        UserError: a value occurs more than once.
    """
    twice = [name for place, name in enumerate(given) if name in given[:place]]
    if twice:
        raise UserError(f"{flag} must not repeat a value; got {twice[0]} {given.count(twice[0])} times")


def count(flag: str, text: str, *, also: str = "") -> int:
    """A whole number from 1 to 2147483647.

    Args:
        flag: the flag that has this value.
        text: the given value.
        also: another value that the flag accepts, for the error message.

    Raises:
        UserError: the text is not such a number.
    """
    # Python refuses to read thousands of digits.
    if not text.isdecimal() or len(text) > 10 or not 1 <= int(text) <= LARGEST_INTEGER:
        raise UserError(f"{flag} takes a whole number from 1{also and f', or {also}'}; got {text!r}")
    return int(text)


def seeds(text: str) -> list[int]:
    """A comma-separated list of whole numbers.

    Raises:
        UserError: the text is not such a list.
    """
    try:
        found = [int(seed) for seed in parts(text)]
    except ValueError:
        found = []
    if not found or min(found) < 0:
        raise UserError(f"--seeds takes whole numbers from 0 like 0,1,2; got {text!r}")
    return found


#: Files that a run may have open at once: checkpoints are written by several threads.
LEAST_OPEN_FILES = 256

#: Toy programs take longer to compile than to run on a CPU. Fewer optimizations, and fused loops by XLA's older emitter
#: in one piece, cost less in total.
TOY_COMPILER = (
    "--xla_backend_optimization_level=1 --xla_cpu_parallel_codegen_split_count=1 "
    "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
)


def prepare_jax(preset: str = "", *, tell: bool = True, cache: Path | None = None) -> None:
    """Settings of JAX and of messages for command-line work; called before the first computation.

    Args:
        preset: the preset of the runs.
        tell: whether to log messages of the package, such as selected backends.
        cache: the folder of compiled programs; None: the default one.

    Raises:
        UserError: an environment variable with an unsupported value, or a cache that cannot be written.
    """
    import logging

    import jax

    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise UserError("JAX_DISABLE_JIT is set, but ssm-bench runs compiled programs only: unset it")
    _check_open_files()
    _check_platform(os.environ.get("JAX_PLATFORMS", ""))
    flags = os.environ.get("XLA_FLAGS", "")
    if preset == "quick" and "optimization_level" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {TOY_COMPILER}".strip()
    # Compiled programs are kept between commands, so that resuming does not compile again; small ones too, since every
    # worker of a sweep needs those that draw initial values.
    jax.config.update("jax_compilation_cache_dir", _compilation_cache() if cache is None else _own_cache(cache))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Orbax reports every save at this level.
    logging.getLogger("absl").setLevel(logging.ERROR)
    # Messages of the package, such as the selected backends; in a sweep, every cell would repeat them.
    logging.basicConfig(format="%(message)s")
    logging.getLogger("ssm_bench").setLevel(logging.INFO if tell else logging.WARNING)


def _compilation_cache() -> str | None:
    """The folder of compiled programs; None for a user without a home, if JAX_COMPILATION_CACHE_DIR names none."""
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    try:
        return named or str(Path.home() / ".cache" / "ssm_bench" / "xla")
    except RuntimeError:
        return None


def _own_cache(folder: Path) -> str:
    """The folder of compiled programs that the user chose, which is made if it does not exist.

    Raises:
        UserError: it cannot be written.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"--compilation-cache takes a folder that can be written; got {folder}: {error.strerror}"
        ) from error
    # XLA's own cache below the folder would make the folder's path a part of the name of every program in it.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "")
    # JAX keeps the folder that it used first.
    compilation_cache.reset_cache()
    return str(folder.resolve())


def _check_open_files() -> None:
    """Raises the limit of open files to LEAST_OPEN_FILES, if it is lower.

    Raises:
        UserError: the system does not permit as many.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_OPEN_FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < LEAST_OPEN_FILES:
        raise UserError(f"training needs {LEAST_OPEN_FILES} open files, and the limit is {hard}: see `ulimit -n`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_OPEN_FILES, hard))


def _check_platform(platforms: str) -> None:
    """Checks, without starting JAX, that JAX has a plugin for the GPU that JAX_PLATFORMS names.

    Raises:
        UserError: there is no such plugin.
    """
    from importlib.metadata import entry_points
    from importlib.util import find_spec
    from pkgutil import iter_modules

    if not {"cuda", "gpu"} & set(platforms.split(",")):
        return
    folders = find_spec("jax_plugins")
    plugins = [m.name for m in iter_modules(folders.submodule_search_locations)] if folders else []
    plugins += [entry.name for entry in entry_points(group="jax_plugins")]
    kinds = ("cuda", "rocm") if "gpu" in platforms.split(",") else ("cuda",)
    if not any(kind in plugin for plugin in plugins for kind in kinds):
        raise UserError(
            f"JAX_PLATFORMS={platforms} needs JAX's plugin for GPUs, but none is installed: "
            "run `make setup EXTRAS=cuda13`, or unset JAX_PLATFORMS"
        )
