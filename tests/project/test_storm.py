"""The storm of faults in its short form, and its page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "results/storm.json").read_text("utf-8"))


def storm(*arguments):
    """The script in a process of its own, which has no other threads."""
    command = [sys.executable, str(ROOT / "scripts/storm.py"), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.thorough
def test_no_fault_leaves_a_wrong_result_a_traceback_or_half_a_file():
    ended = storm("--short")
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
    assert ended.stdout.count(", 0 failures\n") == len(RECORD) == 5


def test_the_storm_of_record_has_no_failures_and_enough_cases():
    figures = {part: found["figures"] for part, found in RECORD.items()}
    assert [found["failures"] for found in RECORD.values()] == [0] * 5
    assert figures["kills"]["kills"] >= 200
    assert figures["corruptions"]["corruptions"] >= 200
    assert figures["inputs"]["inputs"] >= 300
    assert figures["disks"]["full disks"] >= 20
    assert figures["readers"]["sets opened meanwhile"] >= 200


def test_the_page_follows_from_the_record(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from storm_cases.page import page

    assert page(RECORD) == (ROOT / "docs/reliability.md").read_text("utf-8")
