"""Transforms and kernels on a batch that is divided among devices, and the recurrence on sequences that are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["batches", "sequences"])
def test_two_devices_compute_their_parts(what):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags}
    command = [sys.executable, "-m", "tests.ops.on_two_devices", what]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
