"""What a signal does to a run."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from ssm_bench.sweep.progress import Progress
from ssm_bench.training.stop import Stop, Stopped, in_threads


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason() == "stopped by SIGINT"
        # Calls the handler before it returns. After `os.kill`, Python might call it inside a callback of the garbage
        # collector, where an exception is lost.
        signal.raise_signal(signal.SIGINT)


def test_a_second_sigterm_does_not_interrupt_what_is_being_saved():
    with Stop() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason() == "stopped by SIGTERM"


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU"])
def test_the_signals_of_terminals_and_batch_systems_are_requests_to_stop(number):
    before = signal.getsignal(getattr(signal, number))
    with Stop() as stop:
        os.kill(os.getpid(), getattr(signal, number))
        assert stop.reason() == f"stopped by {number}"
    assert signal.getsignal(getattr(signal, number)) == before


def test_nohup_keeps_its_meaning():
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.reason() == ""
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_work_is_abandoned_when_a_stop_is_requested():
    stop, release = Stop(), threading.Event()

    def work():
        stop.signal = "SIGTERM"
        release.wait()

    with pytest.raises(Stopped, match="^stopped by SIGTERM$"):
        stop.attempt(work)
    with pytest.raises(Stopped):
        stop.attempt(lambda: pytest.fail("begun after the stop"))
    release.set()


def test_work_that_ends_gives_its_result_or_its_error():
    def recursion(depth):
        return 0 if depth == 0 else 1 + recursion(depth - 1)

    assert Stop().attempt(lambda: recursion(500)) == 500
    with pytest.raises(ZeroDivisionError):
        Stop().attempt(lambda: 1 / 0)


# Abandoned work holds neither the process nor what it printed.
LEAVES = """
import sys, time
from ssm_bench.training.stop import Stop, Stopped, leave
leave(5)
stop = Stop()
def work():
    stop.signal = "SIGTERM"
    time.sleep(1000)
try:
    stop.attempt(work)
except Stopped as stopped:
    print(stopped)
leave(3)
"""


def test_a_process_leaves_abandoned_work_behind():
    done = subprocess.run([sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "stopped by SIGTERM\n", "")


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


def test_work_side_by_side_gives_results_in_order_and_the_first_error():
    assert in_threads(lambda item: 10 * item, [3, 1, 2]) == [30, 10, 20]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 // item, [1, 0])
