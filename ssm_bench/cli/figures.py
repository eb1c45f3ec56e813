"""`ssm-bench figures`: from records to SVG and PNG."""

import argparse
import sys
from pathlib import Path

HELP = "draw learning curves, accuracy against cost and size, streams and lengths, from the records"
EXAMPLE = """examples:
  ssm-bench figures                      every preset that has records
  ssm-bench figures --preset budget      one preset
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench figures`."""
    parser.add_argument("--preset", help="only this preset (default: every preset that has records)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Draws and writes; returns the exit code.

    Raises:
        UserError: there are no such records. A bad one is left out with a warning.
    """
    from ssm_bench.cli.table import no_records
    from ssm_bench.record import store
    from ssm_bench.report import figures, layout
    from ssm_bench.report.table import names

    def warn(sentence: str) -> None:
        print(f"warning: left out {sentence}", file=sys.stderr)

    records = store.read_all(options.results, options.preset, skip=warn)
    presets: dict[str, list[str]] = {}
    for preset, protocol in names(records):
        presets.setdefault(preset, []).append(protocol)
    speeds = [] if options.preset else store.read_all_speed(options.results, skip=warn)
    if not presets and not speeds:
        raise no_records(options.results, options.preset)
    drawn = figures.write_speeds(speeds, options.results) if speeds else []
    for preset, protocols in presets.items():
        drawn += figures.write(records, preset, protocols, options.results)
    if set(presets) & set(layout.COMBINED):
        everything = store.read_all(options.results, skip=warn) if options.preset else records
        drawn += figures.write_table(everything, options.results)
    for path in drawn:
        print(f"wrote {path}")
    return 0
