"""`python -m ssm_bench` and the command `ssm-bench`."""

import sys

from ssm_bench.cli import main
from ssm_bench.training.stop import leave


def run() -> None:
    """Runs the command line and ends the process, even if abandoned work of a run that was stopped still runs."""
    code = main()
    leave(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
