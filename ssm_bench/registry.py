"""Finds mixers, scaffolds and tasks by the names of their modules; nothing is registered by hand."""

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

from ssm_bench.errors import unknown_name


@cache
def names(package: str) -> tuple[str, ...]:
    """The public modules of a package of this project, sorted.

    Args:
        package: "mixers", "scaffolds" or "tasks".
    """
    path = importlib.import_module(f"ssm_bench.{package}").__path__
    return tuple(sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_")))


def module(package: str, name: str) -> Any:
    """Imports ssm_bench.<package>.<name>, and only that one.

    Raises:
        UserError: no such module; the message lists the names and the nearest ones.
    """
    if name not in names(package):
        raise unknown_name(package.removesuffix("s"), name, names(package))
    return importlib.import_module(f"ssm_bench.{package}.{name}")


def subclass(package: str, name: str, base: type) -> Any:
    """The one concrete class derived from `base` that module <package>.<name> defines.

    Raises:
        UserError: no such module.
        TypeError: the module does not define exactly one such class.
    """
    found = module(package, name)
    own = [v for v in vars(found).values() if inspect.isclass(v) and v.__module__ == found.__name__]
    derived = [value for value in own if issubclass(value, base)]
    classes = [value for value in derived if not inspect.isabstract(value)]
    if len(classes) != 1:
        lacking = {value.__name__: sorted(getattr(value, "__abstractmethods__", ())) for value in derived}
        why = "".join(f"; {name} lacks {', '.join(names)}" for name, names in lacking.items() if names)
        raise TypeError(f"{found.__name__} must define exactly one {base.__name__}, it defines {len(classes)}{why}")
    return classes[0]
