"""ssm_bench: the reference benchmark suite for long-sequence models in JAX and Flax.

`train`, `load` and `benchmark` are the Python API, `datasets` opens data, and `testing` checks a new mixer. Each is
imported when it is first used, so `import ssm_bench` alone does not import JAX or NumPy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssm_bench import datasets, testing
    from ssm_bench.api import Benchmark, Run, benchmark, load, train

__version__ = "0.1.0"

__all__ = ["Benchmark", "Run", "benchmark", "datasets", "load", "testing", "train"]


def __getattr__(name: str) -> Any:
    if name in ("datasets", "testing"):
        return importlib.import_module(f"ssm_bench.{name}")
    if name in __all__:
        return getattr(importlib.import_module("ssm_bench.api"), name)
    raise AttributeError(f"module 'ssm_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
