"""`ssm-bench figures`: from records to SVG and PNG."""

import argparse
from pathlib import Path

HELP = "draw learning curves, accuracy against cost and size, streams and lengths, from the records"
EXAMPLE = """examples:
  ssm-bench figures                      every preset that has records
  ssm-bench figures --preset budget      one preset
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench figures`."""
    parser.add_argument("--preset", help="only this preset (default: every preset that has records)")
    parser.add_argument("--protocol", help="only this protocol, such as strict (default: all)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Draws and writes; returns the exit code.

    Raises:
        UserError: there are no such records, or one is bad.
    """
    from ssm_bench.cli.table import check_protocol, no_records
    from ssm_bench.record import store
    from ssm_bench.report import figures
    from ssm_bench.report.table import names

    check_protocol(options.protocol)
    records = store.read_all(options.results, options.preset)
    wanted = [name for name in names(records) if options.protocol in (None, name[1])]
    speeds = [] if options.preset or options.protocol else store.read_all_speed(options.results)
    drawn = figures.write_speeds(speeds, options.results)
    if not wanted and not drawn:
        raise no_records(options)
    for path in drawn:
        print(f"wrote {path}")
    for preset, protocol in wanted:
        for path in figures.write(records, preset, protocol, options.results):
            print(f"wrote {path}")
    return 0
