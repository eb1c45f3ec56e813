"""`ssm-bench verify`: checks every record, and that tables and figures match the records."""

import argparse
from pathlib import Path

HELP = "check every record, and that tables, README and figures match the records"
EXAMPLE = """example:
  ssm-bench verify                       one line per problem; exit 1 if there is one
  ssm-bench verify --migrate             first rewrite records of earlier versions, and move records to their paths
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench verify`."""
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")
    migrate = "first rewrite records of earlier versions, and move records to their paths"
    parser.add_argument("--migrate", action="store_true", help=migrate)
    parser.add_argument(
        "--readme", type=Path, help="page with table markers (default: README.md next to a folder called results)"
    )


def run(options: argparse.Namespace) -> int:
    """Prints a line for every problem; returns 1 if there is one, else 0.

    Raises:
        UserError: there is no such folder, or `store.migrate` cannot move a record.
    """
    from ssm_bench.cli.table import readme_of
    from ssm_bench.errors import UserError, printable
    from ssm_bench.record import store
    from ssm_bench.report.check import problems

    if not options.results.is_dir():
        raise UserError(f"--results {options.results}: no such folder")
    if options.migrate:
        for path, place in store.migrate(options.results):
            print(f"{path}: now {place}")
    runs, speeds, found = problems(options.results, readme_of(options.results, options.readme))
    for sentence in found:
        print(printable(sentence))
    counted = f"{len(found)} problem{'' if len(found) == 1 else 's'}" if found else "no problem"
    print(f"{runs} readable run records, {speeds} readable speed records: {counted}")
    return 1 if found else 0
