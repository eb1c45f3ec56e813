"""`ssm-bench report`: all results as one HTML page."""

import argparse
import sys
from pathlib import Path

from ssm_bench.errors import UserError

HELP = "write all results as one HTML page, or serve it on this machine while a sweep runs"
EXAMPLE = """examples:
  ssm-bench report                       write results/report.html; it needs no network
  ssm-bench report --out page.html       another file; its links lead to the records
  ssm-bench report --watch               serve it on 127.0.0.1 and update it when a run ends
"""

PORT = 8000
LARGEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `ssm-bench report`."""
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of all results (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file (default: report.html in that folder)")
    parser.add_argument("--watch", action="store_true", help="serve the page on 127.0.0.1 until Ctrl-C, write nothing")
    parser.add_argument("--port", metavar="N", help=f"port for --watch; 0 selects a free port (default: {PORT})")


def run(options: argparse.Namespace) -> int:
    """Writes or serves the page; returns the exit code.

    Raises:
        UserError: there is no such folder, flags contradict each other, or the file or the port cannot be used.
    """
    from ssm_bench.report import page

    if options.watch:
        return _serve(options)
    if options.port is not None:
        raise UserError("--port is for --watch")
    if not options.results.is_dir():
        raise UserError(f"--results {options.results}: no such folder")
    if options.out is not None and options.out.is_dir():
        raise UserError(f"--out {options.out}: a folder, not a file")
    path = page.write(options.results, options.out, skip=warn)
    print(f"wrote {path}")
    return 0


def warn(sentence: str) -> None:
    """Prints a warning about a file that is left out."""
    print(f"warning: left out {sentence}", file=sys.stderr)


def _serve(options: argparse.Namespace) -> int:
    from ssm_bench.report.page.serve import HOST, server

    if options.out is not None:
        raise UserError("--out writes a file and --watch serves the page: use one of them")
    text = f"{PORT}" if options.port is None else options.port
    if not text.isdecimal() or len(text) > 5 or int(text) > LARGEST_PORT:
        raise UserError(f"--port takes a whole number from 0 to {LARGEST_PORT}; got {text!r}")
    if options.results.exists() and not options.results.is_dir():
        raise UserError(f"--results {options.results}: not a folder")
    with server(options.results, int(text)) as page:
        print(f"http://{HOST}:{page.server_port}/ shows {options.results} until Ctrl-C", flush=True)
        try:
            page.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
    return 0
