"""The command line `ssm-bench`: one module per verb, imported only when its verb is called."""

import argparse
import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence

from ssm_bench import __version__
from ssm_bench.cli import _failures
from ssm_bench.errors import UserError


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises its errors as `UserError`."""

    def error(self, message: str):
        raise UserError(f"{self.prog}: {message}")


def verbs() -> tuple[str, ...]:
    """The names of all verbs: the public modules of this package."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Returns:
        The exit code of the verb; 2 for a user error, 1 for any other failure, 130 for Ctrl-C. An error message is one
        sentence on stderr (`ssm_bench.cli._failures`).
    """
    arguments = [*(sys.argv[1:] if arguments is None else arguments)]  # a verb is named list
    # If the encoding of the terminal lacks a character, print a question mark instead of failing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        _check_working_directory()
        with _failures.repeated_interrupts():
            code = _run(arguments)
        if sys.stdout:
            sys.stdout.flush()  # a full disk or a closed pipe is found here, not when the interpreter exits
        return code
    except (Exception, KeyboardInterrupt) as error:
        return _failures.report(error)


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working directory has been deleted: change to another one") from None


def _run(arguments: list[str]) -> int:
    parser = _Parser(
        prog="ssm-bench",
        description="Trains every model of the Long Range Arena comparison under one protocol and writes the table.",
    )
    parser.add_argument("--version", action="version", version=f"ssm-bench {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    # Only the verb that is called pays for its imports: `ssm-bench table` must not load JAX.
    called = next((a for a in arguments if not a.startswith("-")), None)
    for verb in verbs():
        source = importlib.import_module(f"{__name__}.{verb}")
        subparser = subparsers.add_parser(
            verb,
            help=source.HELP,
            description=source.HELP,
            epilog=source.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if verb == called:
            source.add_arguments(subparser)
            subparser.set_defaults(run=source.run)
    # argparse would take the value of --flag=-- for an empty list.
    if emptied := next((a for a in arguments if a.startswith("--") and a.endswith("=--")), ""):
        parser.error(f"{emptied.removesuffix('=--')} takes a value; got '--'")
    options, rest = parser.parse_known_args(arguments)
    overrides = [a for a in rest if a.startswith("--config.")]
    unknown = [a for a in rest if not a.startswith("--config.")]
    if unknown or (overrides and not hasattr(options, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(unknown or overrides)}")
    options.overrides, options.arguments = overrides, arguments
    return int(options.run(options) or 0)
