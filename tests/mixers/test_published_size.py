"""Every mixer ends its forward and backward pass at its published size on a processor of several cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import DISTINCT

SCRIPT = Path(__file__).with_name("at_published_size.py")

# All cores, at least the two with which threads can wait for each other.
THREADS = max(2, os.cpu_count() or 1)

# Far more than the slowest machine needs: what does not end until then never does.
PATIENCE = 900

GROUPS = 2


@pytest.mark.thorough
@pytest.mark.parametrize("group", range(GROUPS))
def test_a_pass_ends_with_all_threads(group):
    names = DISTINCT[group::GROUPS]
    environment = os.environ | {"NPROC": str(THREADS)}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *names],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ended, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        ended, errors = process.communicate()
    assert ended.split() == names, f"the model after these did not end: {ended.split()}\n{errors[-2000:]}"
