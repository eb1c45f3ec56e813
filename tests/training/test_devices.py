"""One run on two devices is the run on one, and may be stopped on the one and go on on the other."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssm_bench.cli import main
from ssm_bench.record import store

ROOT = Path(__file__).parents[2]

# Float32 sums in two parts, over twenty steps of training.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder that `on_two_devices` filled, and what it said."""
    folder = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags}
    command = [sys.executable, "-m", "tests.training.on_two_devices", str(folder)]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return folder, found.stderr


def record(folder, name):
    (found,) = store.read_all(folder / name / "results")
    return found


def test_a_run_on_two_devices_one_and_two_again_is_the_run_on_one(ran):
    one, other = record(ran[0], "one"), record(ran[0], "parts")
    assert one.config_hash == other.config_hash and one.status == other.status == "ok"
    assert (one.device.count, other.device.count) == (1, 2)
    for point, of_one in zip(other.curve, one.curve, strict=True):
        assert point.train_loss == pytest.approx(of_one.train_loss, rel=TOLERANCE)
        assert point.validation_loss == pytest.approx(of_one.validation_loss, rel=TOLERANCE)
        assert point.validation_accuracy == of_one.validation_accuracy
    assert other.result.test_loss == pytest.approx(one.result.test_loss, rel=TOLERANCE)
    assert other.result.test_accuracy == one.result.test_accuracy
    assert np.isfinite(other.cost.sequences_per_second)


def test_a_run_in_parts_names_the_devices_of_each(ran):
    parts = record(ran[0], "parts").parts
    assert [part.device.count for part in parts] == [2, 1, 2]


def test_a_sweep_takes_several_devices(ran):
    assert record(ran[0], "swept").device.count == 2


@pytest.mark.parametrize(
    "sentence",
    [
        "--devices must be at most 2, the number of available devices; got 3",
        "--devices must divide --config.train.batch_size, here 5: it can be 1, 5; got 2",
        "--devices must divide --config.train.batch_size, here 9: it can be 1, 3, 9; got 2",
        "--jobs x --devices must be at most 2, the number of available devices; got 2 x 2",
    ],
)
def test_what_can_not_be_divided_is_one_sentence(ran, sentence):
    assert f"error: {sentence}\n2\n" in ran[1]


@pytest.mark.parametrize("verb", [("train", "--model", "s5", "--task", "text"), ("sweep",)])
@pytest.mark.parametrize("devices", ["0", "two"])
def test_a_wrong_number_of_devices_is_one_sentence(verb, devices, capsys):
    assert main([*verb, f"--devices={devices}"]) == 2
    assert capsys.readouterr().err == f"error: --devices takes a whole number from 1; got {devices!r}\n"
