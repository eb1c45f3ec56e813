"""TensorFlow Datasets is an extra; type checks do without it."""

from typing import Any

def __getattr__(name: str) -> Any: ...
