"""What a signal does to a run."""

import os
import signal

import pytest

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
