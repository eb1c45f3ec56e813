"""`ssm-bench table`: from records to CSV, LaTeX, Markdown and the terminal."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_bench.errors import UserError, unknown_name

if TYPE_CHECKING:
    from ssm_bench.report.table import Table

HELP = "write the comparison tables and the tables of speed from the records, and print the former"
EXAMPLE = """examples:
  ssm-bench table                        every table: published recipes (presets paper and budget), quick, custom
  ssm-bench table --preset quick         one table
  ssm-bench table --missing              the cells that have no finished run yet
  ssm-bench table --check                write nothing; exit 1 if a file does not match the records
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench table`."""
    parser.add_argument("--preset", help="only the table with this preset; with --missing only its runs (default: all)")
    parser.add_argument("--protocol", help="only this protocol, such as strict (default: all)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")
    parser.add_argument(
        "--readme",
        type=Path,
        help="file with <!-- table:begin NAME --> markers (default: README.md next to a folder called results)",
    )
    parser.add_argument("--missing", action="store_true", help="list the cells without a finished run, write nothing")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs from the records")


def run(options: argparse.Namespace) -> int:
    """Writes, prints or checks; returns the exit code.

    Raises:
        UserError: there are no such records. A bad one is left out with a warning.
    """
    check_protocol(options.protocol)
    chosen = (options.results, options.preset, options.protocol)
    if options.missing:
        return _list_missing(*chosen)
    if options.check:
        return _check(*chosen, options.readme)
    show_and_write(*chosen, options.readme)
    return 0


def show_and_write(results: Path, preset: str | None, protocol: str | None, readme: Path | None = None) -> None:
    """Prints the tables of the records, writes their files and the page of all results, and names the page last.

    Args:
        results: the folder of all results.
        preset: only the table of this preset; None: all tables.
        protocol: only the tables of this protocol; None: all tables.
        readme: as in `readme_of`.

    Raises:
        UserError: there are no such records. A bad one is left out with a warning.
    """
    from ssm_bench.report import page, publish, render

    made, texts, _ = _contents(results, preset, protocol, readme)
    for number, table in enumerate(made):
        if number:
            print()
        render.print_table(table, sys.stdout)
    for path in publish.write(texts):
        print(f"wrote {path}")
    # The files that are left out have been named.
    print(f"all results as a page: {page.write(results)}")


def _check(results: Path, preset: str | None, protocol: str | None, readme: Path | None) -> int:
    """Prints the files that do not match the records; returns the exit code."""
    from ssm_bench.report import publish

    made, texts, bad = _contents(results, preset, protocol, readme)
    unlike = publish.stale(texts) + (publish.orphans(made, results) if preset is None and protocol is None else [])
    for path in unlike:
        print(f"{path}: does not match the records; run `ssm-bench table`")
    return 1 if unlike or bad else 0


def _list_missing(results: Path, preset: str | None, protocol: str | None) -> int:
    """Lists the cells without a finished run."""
    from ssm_bench.record import store
    from ssm_bench.report.missing import missing

    bad: list[str] = []
    records = store.read_all(results, skip=bad.append)
    _warn(bad)
    print(missing(records, preset, protocol or "strict"))
    return 0


def _cluster_page(results: Path, readme: Path) -> dict[Path, str]:
    """Path -> text of the page that plans the whole table on many GPUs; empty where there is no such page."""
    path = readme.parent / "docs" / "cluster.md"
    if not path.is_file():
        return {}
    from ssm_bench.report import publish
    from ssm_bench.sweep import scaling

    return {path: publish.readme_text(path.read_text(encoding="utf-8"), scaling.blocks(results), str(path))}


def _contents(
    results: Path, preset: str | None, protocol: str | None, readme: Path | None
) -> tuple[list["Table"], dict[Path, str], list[str]]:
    """The tables, the texts of all files that show them, and a sentence about every invalid record."""
    from ssm_bench.record import store
    from ssm_bench.report import publish

    bad: list[str] = []
    made = publish.tables(results, preset, protocol, skip=bad.append)
    everything = preset is None and protocol is None
    speeds = store.read_all_speed(results, skip=bad.append) if everything else []
    _warn(bad)
    if not made and not speeds:
        raise no_records(results, preset, protocol)
    page = readme_of(results, readme)
    texts = publish.contents(made, results, page, speeds if everything else None)
    if everything and page is not None:
        texts |= publish.speed_contents(speeds, page)
        texts |= _cluster_page(results, page)
    return made, texts, bad


def _warn(bad: list[str]) -> None:
    """Names files that are left out."""
    for sentence in bad:
        print(f"warning: left out {sentence}", file=sys.stderr)


def readme_of(results: Path, readme: Path | None) -> Path | None:
    """The page with table markers: the given one, or the README.md next to a folder called `results`.

    That README.md need not exist. None if the folder has another name, since the pages next to it show other records.

    Raises:
        UserError: the given page does not exist.
    """
    if readme is not None and not readme.is_file():
        raise UserError(f"--readme {readme}: no such file")
    folder = results.resolve()
    return readme or (folder.parent / "README.md" if folder.name == "results" else None)


def check_protocol(protocol: str | None) -> None:
    """Refuses a protocol that does not exist.

    Raises:
        UserError: names the protocols that do.
    """
    from ssm_bench.data.dataset import PROTOCOLS

    if protocol is not None and protocol not in PROTOCOLS:
        raise unknown_name("--protocol", protocol, PROTOCOLS)


def no_records(results: Path, preset: str | None, protocol: str | None = None) -> UserError:
    """The error for a selection without records."""
    asked = [f" --{name} {value}" for name, value in (("preset", preset), ("protocol", protocol)) if value]
    return UserError(
        f"no records{' for' if asked else ''}{''.join(asked)} under {(results / 'runs').resolve()}; "
        "create some with `ssm-bench train` or `make reproduce-table`"
    )
