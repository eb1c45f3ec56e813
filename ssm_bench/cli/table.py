"""`ssm-bench table`: from records to CSV, LaTeX, Markdown and the terminal."""

import argparse
import sys
from pathlib import Path

from ssm_bench.errors import UserError, unknown_name

HELP = "write the comparison tables and the tables of speed from the records, and print the former"
EXAMPLE = """examples:
  ssm-bench table                        every table: published recipes (presets paper and budget), quick, custom
  ssm-bench table --preset quick         one table
  ssm-bench table --missing              the cells that have no finished run yet
  ssm-bench table --check                write nothing; exit 1 if a file is not what the records make
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench table`."""
    parser.add_argument("--preset", help="only the table with this preset; with --missing only its runs (default: all)")
    parser.add_argument("--protocol", help="only this protocol, such as strict (default: all)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")
    parser.add_argument(
        "--readme",
        type=Path,
        help="file with <!-- table:begin NAME --> markers (default: README.md beside a folder called results)",
    )
    parser.add_argument("--missing", action="store_true", help="list the cells without a finished run, write nothing")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 where regenerating changes a byte")


def run(options: argparse.Namespace) -> int:
    """Writes, prints or checks; returns the exit code.

    Raises:
        UserError: there are no such records. A bad one is left out with a warning.
    """
    from ssm_bench.record import store
    from ssm_bench.report import publish, render

    check_protocol(options.protocol)
    bad: list[str] = []
    if options.missing:
        from ssm_bench.report.missing import missing

        records = store.read_all(options.results, skip=bad.append)
        _warn(bad)
        print(missing(records, options.preset, options.protocol or "strict"))
        return 0
    made = publish.tables(options.results, options.preset, options.protocol, skip=bad.append)
    everything = options.preset is None and options.protocol is None
    speeds = store.read_all_speed(options.results, skip=bad.append) if everything else []
    _warn(bad)
    if not made and not speeds:
        raise no_records(options)
    readme = readme_of(options)
    texts = publish.contents(made, options.results, readme, speeds if everything else None)
    if everything and readme is not None:
        texts |= publish.speed_contents(speeds, readme)
    if options.check:
        unlike = publish.stale(texts) + (publish.orphans(made, options.results) if everything else [])
        for path in unlike:
            print(f"{path}: not what the records make; run `ssm-bench table`")
        return 1 if unlike or bad else 0
    for number, table in enumerate(made):
        if number:
            print()
        render.print_table(table, sys.stdout)
    for path in publish.write(texts):
        print(f"wrote {path}")
    return 0


def _warn(bad: list[str]) -> None:
    """Names files that are left out."""
    for sentence in bad:
        print(f"warning: left out {sentence}", file=sys.stderr)


def readme_of(options: argparse.Namespace) -> Path | None:
    """The page that holds tables between markers; it may not exist unless it was asked for.

    None for a folder of another name than `results`: the pages beside it are about other records.

    Raises:
        UserError: --readme names no file.
    """
    if options.readme is not None and not options.readme.is_file():
        raise UserError(f"--readme {options.readme}: no such file")
    results = options.results.resolve()
    return options.readme or (results.parent / "README.md" if results.name == "results" else None)


def check_protocol(protocol: str | None) -> None:
    """Refuses a protocol that does not exist.

    Raises:
        UserError: names the protocols that do.
    """
    from ssm_bench.data.dataset import PROTOCOLS

    if protocol is not None and protocol not in PROTOCOLS:
        raise unknown_name("--protocol", protocol, PROTOCOLS)


def no_records(options: argparse.Namespace) -> UserError:
    """The error of a verb that found no record for what was asked."""
    asked = [f" --{name} {value}" for name in ("preset", "protocol") if (value := getattr(options, name, None))]
    return UserError(
        f"no records{' for' if asked else ''}{''.join(asked)} under {(options.results / 'runs').resolve()}; "
        "`ssm-bench train` or `make reproduce-table` makes some"
    )
