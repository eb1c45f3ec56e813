"""What a signal does to a run."""

import os
import signal

import pytest

from ssm_bench.sweep.progress import Progress
from ssm_bench.train.stop import Stop


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason() == "stopped by SIGINT"
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_does_not_interrupt_what_is_being_saved():
    with Stop() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason() == "stopped by SIGTERM"


def test_a_signal_is_heard_when_nobody_reads_what_is_said(capfd):
    """As with `2>&1 | tee log`, where Ctrl-C ends tee first."""
    reader, writer = os.pipe()
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(reader)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.reason() == "stopped by SIGINT"
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(writer)


def test_progress_that_nobody_reads_ends_no_work(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", closefd=False) as nobody:
        monkeypatch.setattr("sys.stderr", nobody)
        progress = Progress("cell")
        progress(1, 1, 1.0, "loss 0.5")
        progress.end("ok")
        monkeypatch.undo()
        # What is left in its buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)
