"""`ssm-bench table`: from records to CSV, LaTeX, Markdown and the terminal."""

import argparse
import sys
from pathlib import Path

HELP = "write the comparison table from the records, and print it"
EXAMPLE = """examples:
  ssm-bench table                        every preset that has records
  ssm-bench table --preset budget        one preset
  ssm-bench table --check                write nothing; exit 1 if a file is not what the records make
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench table`."""
    parser.add_argument("--preset", help="only this preset (default: every preset that has records)")
    parser.add_argument("--protocol", help="only this protocol, strict or paper (default: both)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")
    parser.add_argument(
        "--readme",
        type=Path,
        help="file with <!-- table:begin NAME --> markers (default: README.md beside the results)",
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where regenerating changes a byte")


def run(options: argparse.Namespace) -> int:
    """Writes, prints or checks; returns the exit code.

    Raises:
        UserError: there are no such records, or one is bad.
    """
    from ssm_bench.errors import UserError, unknown_name
    from ssm_bench.report import layout, publish, render

    if options.protocol is not None and options.protocol not in layout.PROTOCOLS:
        raise unknown_name("--protocol", options.protocol, layout.PROTOCOLS)
    made = publish.tables(options.results, options.preset, options.protocol)
    if not made:
        asked = [f"--{name} {value}" for name in ("preset", "protocol") if (value := getattr(options, name))]
        raise UserError(
            f"no records{' for ' + ' '.join(asked) if asked else ''} under {options.results / 'runs'}; "
            "`ssm-bench train` or `make reproduce-table` makes some"
        )
    if options.readme is not None and not options.readme.is_file():
        raise UserError(f"--readme {options.readme}: no such file")
    readme = options.readme or options.results.resolve().parent / "README.md"
    texts = publish.contents(made, options.results, readme)
    if options.check:
        everything = options.preset is None and options.protocol is None
        unlike = publish.stale(texts) + (publish.orphans(made, options.results) if everything else [])
        for path in unlike:
            print(f"{path}: not what the records make; run `ssm-bench table`")
        return 1 if unlike else 0
    for number, table in enumerate(made):
        if number:
            print()
        render.print_table(table, sys.stdout)
    for path in publish.write(texts):
        print(f"wrote {path}")
    return 0
