"""User-facing errors: each is one sentence."""

import difflib
import unicodedata
from collections.abc import Iterable

#: Characters that reverse the direction of the text after them.
_REVERSING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}


def printable(text: str) -> str:
    """Text with "?" in place of what could act on a terminal or is not Unicode: control characters, lone surrogates.

    Tabs and newlines stay.
    """
    return "".join(
        "?" if c not in "\t\n" and (unicodedata.category(c) in ("Cc", "Cs") or c in _REVERSING) else c for c in text
    )


class UserError(ValueError):
    """A user's mistake: the command line prints its one sentence and exits with code 2."""

    def __init__(self, message: str):
        """Takes the sentence, which may quote names and values from files."""
        super().__init__(printable(message))


class ArgumentError(UserError):
    """A value that an argument cannot have: "state_size must be even; got 3".

    Attributes:
        name: of the argument.
        words: what follows the name in the message, and what precedes it.
    """

    def __init__(self, name: str, after: str, before: str = ""):
        """Takes the parts of the sentence; a space precedes `after`, unless it begins with a colon or a comma."""
        super().__init__(f"{before}{name}{'' if after[:1] in ':,' else ' '}{after}")
        self.name = name
        self.words = (after, before)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.name, *self.words)


class UserTypeError(UserError, TypeError):
    """A mistake that is a TypeError in Python: a class that is not a mixer, or an argument that does not exist."""


class SettingError(ArgumentError):
    """A value that a setting, such as "mixer.state_size", cannot have; the command line adds the flag to its name."""


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


def unknown_choice(argument: str, value: str, allowed: Iterable[str]) -> ArgumentError:
    """As `unknown_name`, for the value of an argument."""
    return ArgumentError(argument, str(unknown_name("", value, allowed)).removeprefix("unknown  "), "unknown ")
