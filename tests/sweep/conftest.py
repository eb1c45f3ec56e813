"""Workers of a stand-in, which start fast."""

import importlib
import multiprocessing
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssm_bench.sweep import workers


@pytest.fixture
def stand_in(monkeypatch):
    """The module of the stand-in, found by worker processes, too.

    These are forked from a process that has imported JAX, which saves two seconds for each. Workers of the tests that
    start a sweep in a process of its own, and of the sweep that trains, start from nothing, as those of users do.
    """
    monkeypatch.syspath_prepend(Path(__file__).parent)
    multiprocessing.set_forkserver_preload(["ssm_bench.sweep.workers"])
    forked = SimpleNamespace(get_context=lambda method: multiprocessing.get_context("forkserver"))
    monkeypatch.setattr(workers, "multiprocessing", forked)
    return importlib.import_module("stand_in")
