"""A run whose devices divide the time axis is the run on one device; models and lengths that do not allow it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.training.pretraining import with_objective

from .test_devices import TOLERANCE
from .test_loop import config_of
from .test_segments import CAUSAL

ROOT = Path(__file__).parents[2]

TIME = "--config.train.divide=time"


def on_two_devices(what):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    command = [sys.executable, "-m", "tests.training.on_divided_time", str(what)]
    found = subprocess.run(command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.thorough
def test_a_step_on_two_parts_of_every_sequence_is_that_on_whole_ones():
    on_two_devices("steps")


@pytest.mark.thorough
def test_a_run_on_two_parts_has_the_name_and_the_scores_of_a_run_on_one_device(tmp_path):
    on_two_devices(tmp_path)
    (one,), (two,) = (store.read_all(tmp_path / name) for name in ("one", "two"))
    assert one.status == two.status == "ok" and one.name == two.name
    assert (one.device.count, two.device.count) == (1, 2)
    assert (one.config["train"]["divide"], two.config["train"]["divide"]) == ("batch", "time")
    for point, of_one in zip(two.curve, one.curve, strict=True):
        assert point.train_loss == pytest.approx(of_one.train_loss, rel=TOLERANCE)
        assert point.validation_loss == pytest.approx(of_one.validation_loss, rel=TOLERANCE)
    assert two.result.test_loss == pytest.approx(one.result.test_loss, rel=TOLERANCE)
    (speed,) = store.read_all_speed(tmp_path / "two")
    assert speed.name == "segments-two-lru" and speed.device.count == 2 and speed.shapes("step_ms") == [(32,), (64,)]
    assert (speed.value("step_ms", shape=(32,)) or 0) > 0
    short, long = (speed.value("temporary_bytes", shape=(length,)) or 0 for length in (32, 64))
    assert 0 < short < long


@pytest.mark.parametrize(
    ("model", "overrides", "sentence"),
    [
        ("transformer", (), "--config.train.divide must be batch with Attention, which cannot be divided along time"),
        ("griffin", (), "--config.train.divide must be batch with Attention, which cannot be divided along time"),
        ("s4d", (), "--config.train.divide must be batch with S4D, which cannot be divided along time"),
        ("rg_lru", ("--config.mixer.bidirectional=true",), "--config.train.divide must be batch with RGLRU, which"),
        ("lru", ("--config.model.pooling=cls",), "--config.model.pooling must be mean or last where train.divide is"),
        ("lru", ("--config.train.segment=8", *CAUSAL), "--config.train.segment must be 0 where train.divide is time"),
        (
            "lru",
            ("--devices=3",),
            "--devices must divide the length 64 with --config.train.divide=time: it can be 1, 2, 4, 8, 16, 32, 64;",
        ),
        (
            "lru",
            ("--devices=8", "--config.task.max_length=1004", "--config.train.lengths=2"),
            "--devices must divide the length 1004 and shorter ones, multiples of 256, with "
            "--config.train.divide=time: it can be 1, 2, 4; got 8",
        ),
        ("lru", ("--config.train.divide=space",), "unknown --config.train.divide 'space'; allowed: batch, time"),
    ],
)
def test_what_cannot_be_divided_along_time_is_one_sentence(command, model, overrides, sentence):
    code, _, errors = command(
        *("train", "--model", model, "--task", "text", "--preset", "quick", "--data", "synthetic", TIME, *overrides)
    )
    assert code == 2
    assert errors.startswith(f"error: {sentence}") and errors.count("\n") == 1


def test_a_pretraining_divides_batches():
    with pytest.raises(UserError, match=r"^train.divide must be batch in a pretraining; got time$"):
        with_objective(config_of(TIME, model="lru")[0], "tokens", "masked")
