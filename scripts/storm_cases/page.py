"""The page docs/reliability.md, from the record of the storm."""

from typing import Any


def page(record: dict[str, Any]) -> str:
    """The text of the page."""
    return str(record)
