"""One run by two processes is the run by one: order, dropout, batch statistics, checkpoints, one record."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ssm_bench.cli import main
from ssm_bench.record import store

from .in_two_processes import MODEL, SETTINGS
from .test_loop import config_of, run_in

ROOT = Path(__file__).parents[2]

# Float32 sums in two parts, over twenty steps of training.
TOLERANCE = 2e-5


pytestmark = pytest.mark.usefixtures("shared_programs")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of both processes, and what each of them printed."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    # The coordinator listens on all addresses by default.
    environment = os.environ | {"JAX_COORDINATOR_BIND_ADDRESS": coordinator}
    command = [sys.executable, "-m", "tests.training.in_two_processes", coordinator]
    started = [
        subprocess.Popen(
            [*command, str(number), str(folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        printed = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], printed
    return folder, *[output for output, _ in printed]


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["whole", "parts"])
def test_a_run_by_two_processes_is_the_run_by_one(ran, tmp_path, name):
    alone = run_in(tmp_path, *config_of(*SETTINGS, model=MODEL))
    (record,) = store.read_all(ran[0] / "results of 0" / name)
    assert record.config_hash == alone.config_hash and record.status == alone.status == "ok"
    assert (alone.device.count, record.device.count) == (1, 2)
    for point, expected in zip(record.curve, alone.curve, strict=True):
        assert point.train_loss == pytest.approx(expected.train_loss, rel=TOLERANCE)
        assert point.validation_loss == pytest.approx(expected.validation_loss, rel=TOLERANCE)
        assert point.validation_accuracy == expected.validation_accuracy
    assert record.result.test_loss == pytest.approx(alone.result.test_loss, rel=TOLERANCE)
    assert record.result.test_accuracy == alone.result.test_accuracy


@pytest.mark.thorough
def test_one_process_resumes_what_two_have_begun(ran):
    config, dataset = config_of(*SETTINGS, model=MODEL)
    record = run_in(ran[0] / "handed over", config, dataset)
    (whole,) = store.read_all(ran[0] / "results of 0" / "parts")
    assert record.status == "ok" and [part.device.count for part in record.parts] == [2, 1]
    assert record.curve[0].train_loss == whole.curve[0].train_loss
    assert record.result.test_loss == pytest.approx(whole.result.test_loss, rel=TOLERANCE)


@pytest.mark.thorough
def test_the_first_process_alone_writes_and_tells(ran):
    assert not (ran[0] / "results of 1").exists()
    assert "ok, test" in ran[1] and "ok, test" not in ran[2]


@pytest.mark.thorough
def test_a_request_to_stop_reaches_both(ran):
    for printed in ran[1:]:
        assert "stopped by SIGUSR1: checkpoint at step 10 of 20" in printed


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("sentences"),
    [
        (2 * ["all processes of a run need the same settings, data and code; process 0 has run 0, process 1 run 1"]),
        (["process 1: nothing for 1", "nothing for 1"]),
        (["nothing for 0", "process 0: nothing for 0"]),
    ],
)
def test_what_one_can_not_do_ends_both(ran, sentences):
    for printed, sentence in zip(ran[1:], sentences, strict=True):
        assert sentence in printed.splitlines()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--process", "1"), "--process requires --coordinator, the address of process 0"),
        (("--coordinator", "node1"), "--coordinator takes HOST:PORT, or auto; got 'node1'"),
        (("--coordinator", "node1:1"), "--processes takes a whole number from 1; got ''"),
        (
            ("--coordinator", "node1:1", "--processes", "2", "--process", "2"),
            "--process takes a whole number from 0 to 1; got '2'",
        ),
        (
            ("--coordinator", "auto", "--processes", "2"),
            "--coordinator auto determines --processes and --process itself: omit them",
        ),
    ],
)
def test_wrong_flags_are_one_sentence(flags, sentence, capsys):
    assert main(["train", "--model", "lru", "--task", "text", *flags]) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"
