"""HTML as text: whatever is not HTML already is escaped."""

import html
import json
from typing import Any

#: HTML elements that have no content and no end tag.
VOID = ("input", "meta")


class Html(str):
    """Text that is HTML; `element` escapes every other text."""


def element(name: str, /, *content: str, **attributes: Any) -> Html:
    """An element with its content.

    Args:
        name: of the element.
        content: `Html` as it is, other text escaped.
        attributes: by their names, with "_" for "-" and "class_" for "class"; None leaves one out, True has no value.
    """
    opening = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None
    )
    closing = "" if name in VOID else f"</{name}>"
    return Html(f"<{name}{opening}>{join(*content)}{closing}")


def join(*content: str) -> Html:
    """Several texts as one."""
    return Html("".join(text if isinstance(text, Html) else html.escape(text) for text in content))


def script_json(value: Any) -> Html:
    """JSON inside a script element: no text in it can end the element, begin a comment, or break a line."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return Html(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))
