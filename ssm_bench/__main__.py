"""`python -m ssm_bench` is `ssm-bench`."""

import sys

from ssm_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
