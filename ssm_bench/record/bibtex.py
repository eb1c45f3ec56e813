"""Checks that a text is one BibTeX entry, so that BibTeX can read a bibliography of several."""

import re

_ENTRY = re.compile(r"@(?P<type>[A-Za-z]+)\s*\{\s*(?P<key>[A-Za-z0-9_.:/+-]+)\s*,")

#: Commands that begin with @ but are not entries: preambles are TeX code, and comments may contain anything.
_NO_ENTRY = ("comment", "preamble", "string")


def key(entry: str) -> str:
    """The key of an entry; empty if the text is not an entry."""
    match = _ENTRY.match(entry.strip())
    return match["key"] if match else ""


def problem(text: str) -> str:
    """Why a text is not one entry, as the end of a sentence; empty for an entry and for an empty text."""
    entry = text.strip()
    if not entry:
        return ""
    match = _ENTRY.match(entry)
    if not match or match["type"].lower() in _NO_ENTRY:
        return f'must be one BibTeX entry like "@article{{key, ...}}"; got {entry[:40]!r}'
    depth = 0
    for place, character in enumerate(entry):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0 and place > match.end() and place < len(entry) - 1:
            return f"must be one BibTeX entry; something follows its closing brace: {entry[place + 1 :][:40]!r}"
    return "" if depth == 0 else "must have as many closing braces as opening ones"
