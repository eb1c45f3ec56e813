"""The flags of ml_collections; untyped."""

from typing import Any

def __getattr__(name: str) -> Any: ...
