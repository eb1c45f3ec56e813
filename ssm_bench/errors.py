"""Errors that a user can mend, each told in one sentence."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake: the command line prints its one sentence and exits with code 2."""


def unknown_name(kind: str, value: str, allowed: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the near names first.

    Args:
        kind: what was named, for example "model" or "--task".
        value: the name that was seen.
        allowed: every name that would have been taken.
    """
    allowed = sorted(allowed)
    near = difflib.get_close_matches(str(value), allowed, n=3, cutoff=0.5)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return UserError(f"unknown {kind} {value!r}{hint}; allowed: {', '.join(allowed) or 'none'}")
