"""Finds mixers, scaffolds, tasks and experiments by name: the modules of this project and those of plug-ins.

A plug-in is an installed distribution with entry points in the groups `ssm_bench.mixers`, `ssm_bench.scaffolds`,
`ssm_bench.tasks` or `ssm_bench.experiments`; docs/library.md shows one. A class can also be named directly, as
"package.module:Class".
"""

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ssm_bench.errors import UserError, UserTypeError, unknown_name

#: Names become parts of paths and of command lines, and "-" separates a task from its variant.
_NAME = re.compile(r"[a-z][a-z0-9_]*")

#: Classes that were handed over as objects, by the reference that `reference` gave them.
_GIVEN: dict[str, type] = {}


@cache
def names(package: str) -> tuple[str, ...]:
    """The names of all mixers, scaffolds or tasks, sorted: public modules of this project and entry points.

    Args:
        package: "mixers", "scaffolds" or "tasks".
    """
    return tuple(sorted({*_own(package), *plugins(package)}))


@cache
def _own(package: str) -> tuple[str, ...]:
    path = importlib.import_module(f"ssm_bench.{package}").__path__
    return tuple(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))


@cache
def plugins(package: str) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of the group `ssm_bench.<package>` by name; nothing is imported.

    A name that no command could take is left out. Several distributions may offer the same name; `plugin` refuses it.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=f"ssm_bench.{package}"):
        if _NAME.fullmatch(entry.name):
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def plugin(package: str, name: str, *, own: bool) -> Any:
    """What the entry point of a plug-in refers to: a module or a class.

    Args:
        package: the group, "mixers", "scaffolds", "tasks" or "experiments".
        name: of the entry point.
        own: whether this project has something of that name, too.

    Raises:
        UserError: several offer that name, or the plug-in cannot be imported.
    """
    entries = plugins(package)[name]
    offered = [entry.dist.name if entry.dist else entry.value for entry in entries] + ["ssm-bench"] * own
    if len(offered) > 1:
        raise UserError(f"{package.removesuffix('s')} {name!r} is offered by {' and by '.join(offered)}: keep one")
    try:
        return entries[0].load()
    except Exception as error:
        what = f"{package.removesuffix('s')} {name!r} of the plug-in {offered[0]}"
        raise UserError(f"{what} cannot be imported: {type(error).__name__}: {error}") from error


def module(package: str, name: str) -> Any:
    """Imports the module of a mixer, scaffold or task, and only that one.

    Raises:
        UserError: no such module; the message lists the names and the nearest ones.
    """
    if is_reference(name):
        return sys.modules[_referenced(name).__module__]
    if name not in names(package):
        raise unknown_name(package.removesuffix("s"), name, names(package))
    own = name in _own(package)
    if name in plugins(package):
        found = plugin(package, name, own=own)
        return found if isinstance(found, ModuleType) else sys.modules[found.__module__]
    return importlib.import_module(f"ssm_bench.{package}.{name}")


def subclass(package: str, name: str, base: type) -> Any:
    """The class of a mixer, scaffold or task.

    Args:
        package: "mixers", "scaffolds" or "tasks".
        name: a module of this project, an entry point of a plug-in, or a reference "package.module:Class".
        base: what the class is derived from. A module must define exactly one such class; an entry point and a
            reference may name the class itself.

    Raises:
        UserError: there is none of that name, or it cannot be imported.
        TypeError: what was found is not one concrete class derived from `base`.
    """
    if is_reference(name):
        return _concrete(_referenced(name), name, base)
    found = module(package, name)
    if name in plugins(package) and not isinstance(target := plugin(package, name, own=False), ModuleType):
        return _concrete(target, f"{package.removesuffix('s')} {name!r}", base)
    own = [v for v in vars(found).values() if inspect.isclass(v) and v.__module__ == found.__name__]
    derived = [value for value in own if issubclass(value, base)]
    classes = [value for value in derived if not inspect.isabstract(value)]
    if len(classes) != 1:
        lacking = {value.__name__: sorted(getattr(value, "__abstractmethods__", ())) for value in derived}
        why = "".join(f"; {name} lacks {', '.join(names)}" for name, names in lacking.items() if names)
        raise UserTypeError(f"{found.__name__} must define exactly one {base.__name__}, it defines {len(classes)}{why}")
    return classes[0]


def _concrete(found: Any, what: str, base: type) -> type:
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise UserTypeError(f"{what} must be a class derived from {base.__module__}.{base.__name__}; got {found!r}")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise UserTypeError(f"{what} must define {', '.join(missing)}, as {base.__module__}.{base.__name__} asks")
    return found


def is_reference(name: str) -> bool:
    """Whether a name is a reference "package.module:Class"."""
    return ":" in name


def reference(kind: type) -> str:
    """The reference of a class, which finds it in this process wherever it was defined."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    _GIVEN[name] = kind
    return name


def _referenced(name: str) -> Any:
    """The object that a reference "package.module:Class" names."""
    if name in _GIVEN:
        return _GIVEN[name]
    path, _, qualified = name.partition(":")
    try:
        found: Any = importlib.import_module(path)
        for part in qualified.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise UserError(f"{name!r} cannot be imported: {type(error).__name__}: {error}") from error
    return found


def code_of(package: str, name: str) -> str:
    """A hash of the source files of what a plug-in or a reference offers; empty for modules of this project.

    The files are those of its top-level package, or its one module. Without files, as in a notebook, the source of
    the class counts; "unknown" where there is none either, as for a plug-in that is no longer installed. Nothing is
    imported, since the name may come from a record.
    """
    if is_reference(name):
        path = name
    elif name in plugins(package) and name not in _own(package):
        path = plugins(package)[name][0].value
    else:
        return ""
    files = _sources(re.split("[.:]", path)[0])
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    if not files and name in _GIVEN:
        digest.update((typed := _source(_GIVEN[name])).encode())
        return digest.hexdigest() if typed else "unknown"
    return digest.hexdigest() if files else "unknown"


def _source(kind: type) -> str:
    """The source of the methods of a class, if Python keeps it, as it does for the cells of a notebook."""
    methods = [inspect.unwrap(getattr(value, "fget", None) or value) for value in vars(kind).values()]
    try:
        return "".join(inspect.getsource(method) for method in methods if inspect.isfunction(method))
    except OSError:
        return ""


def _sources(top: str) -> list[Path]:
    """The Python files of a top-level package or module."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # "", or a module without a specification, as a script is.
        spec = None
    if spec is None:
        file = getattr(sys.modules.get(top), "__file__", None)
        return [Path(file)] if file else []
    if spec.submodule_search_locations:
        return sorted(path for folder in spec.submodule_search_locations for path in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
