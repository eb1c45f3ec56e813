"""Training: optimizer, compiled steps, loop, checkpoints, and the run that ends in a record.

Called, the package is the function `ssm_bench.api.train`: `ssm_bench.train("s5", "text")`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """Lets `ssm_bench.train` be a function of the Python API, although this package has the same name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module("ssm_bench.api").train(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
