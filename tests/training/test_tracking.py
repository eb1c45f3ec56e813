"""Runs report to trackers, which never stop them."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from ssm_bench.errors import ArgumentError
from ssm_bench.sweep.cells import Cell, Choices
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.tracking import PACKAGES, Tracking, check

TRAIN = ("train", "--model", "lru", "--task", "listops", "--preset", "quick", "--data", "synthetic")
SMALL = ("--config.model.d_model=8", "--config.model.layers=1", "--config.train.steps=20", "--config.train.chunk=5")

#: Stands in for wandb and trackio: writes each call as a line, and fails where it is told to.
FAKE = """
import json, pathlib
HERE = pathlib.Path(__file__).parent
def write(**call):
    if (HERE / "fails").exists() and (HERE / "fails").read_text() in call:
        raise ConnectionError("no\\nnetwork")
    with open(HERE / "calls", "a") as file:
        print(json.dumps(call), file=file)
class Run:
    def __init__(self, name):
        self.name = name
    def log(self, metrics, step):
        write(log=metrics, step=step, run=self.name)
    def finish(self):
        write(finish=self.name)
def init(**options):
    write(init=options)
    return Run(options["name"])
"""


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Installs a fake service of a name; returns the function that reads its calls."""

    def install(name, fails=""):
        folder = tmp_path / f"fake-{name}"
        folder.mkdir()
        (folder / f"{name}.py").write_text(FAKE)
        if fails:
            (folder / "fails").write_text(fails)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)
        calls = folder / "calls"
        return lambda: [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []

    return install


def events(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars in the event files below a folder: tag -> step -> value."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[int, float]] = {}
    for path in folder.rglob("events*"):
        data = path.read_bytes()
        while data:
            # A record: length (8 bytes), its checksum (4), the event, its checksum (4).
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def quick(seed=0):
    return Choices(preset="quick", data="synthetic").config(Cell(model="lru", task="listops", seed=seed))


def outcome_at(step, validated=False):
    outcome = Outcome(step=step)
    if validated:
        outcome.curve.append({"step": step, "validation_loss": 0.5, "validation_accuracy": 0.75})
    return outcome


def test_a_run_leaves_the_curves_of_its_record_for_tensorboard(command, tmp_path):
    code, _, err = command(*TRAIN, *SMALL, "--track", "tensorboard")
    assert code == 0, err
    (path,) = (tmp_path / "results" / "runs").rglob("*.json")
    record = json.loads(path.read_text())
    found = events(tmp_path / "tensorboard" / "quick" / "listops" / "lru" / path.stem)
    curve = {point["step"]: point["validation_accuracy"] for point in record["curve"]}
    assert found["validation/accuracy"] == pytest.approx(curve)
    assert found["test/accuracy"] == pytest.approx({20: record["result"]["test_accuracy"]})
    assert set(curve) <= set(found["train/loss"]) and all(np.isfinite([*found["train/loss"].values()]))


def test_a_tracker_that_fails_never_stops_a_run(command, service, tmp_path, caplog):
    service("wandb", fails="log")
    code, out, err = command(*TRAIN, *SMALL, "--track", "wandb")
    assert code == 0, err
    assert [message for message in caplog.messages if "--track" in message] == [
        "--track wandb failed; the run continues without it: ConnectionError: no network"
    ]
    assert "test" in out


@pytest.mark.parametrize("kind", ["wandb", "trackio"])
@pytest.mark.parametrize("begun", [0, 10])
def test_a_service_gets_a_run_for_each_seed_and_continues_it(kind, begun, service, tmp_path, monkeypatch):
    calls = service(kind)
    monkeypatch.setenv(f"{kind.upper()}_PROJECT", "mine")
    tracking = Tracking(kind, [quick(0), quick(1)], ["a-s0", "a-s1"], tmp_path / "results")
    metrics = np.array([[[1.0, 0.0], [np.nan, 0.0]], [[2.0, 0.5], [4.0, 0.5]]])
    tracking.chunk([outcome_at(begun + 2, validated=True), outcome_at(begun + 2)], metrics, rate=3.0)
    done = outcome_at(begun + 2)
    done.result = {"test_loss": 0.25, "test_accuracy": 0.9}
    tracking.end([done, outcome_at(begun + 2)])
    start, log, test, finish = calls()
    name = "quick-listops-lru-a-s0"
    assert (start["init"]["name"], start["init"]["project"]) == (name, "mine")
    assert start["init"]["config"]["task"]["name"] == "listops"
    assert start["init"]["resume"] == ("allow" if begun else {"wandb": None, "trackio": "never"}[kind])
    train = {"train/loss": 1.5, "train/accuracy": 0.25, "train/steps_per_second": 3.0}
    validation = {"validation/loss": 0.5, "validation/accuracy": 0.75}
    assert log == {"log": train | validation, "step": begun + 2, "run": name}
    assert test["log"] == {"test/loss": 0.25, "test/accuracy": 0.9}
    assert finish == {"finish": name}


@pytest.mark.parametrize("fails", ["init", "finish"])
def test_a_failure_at_the_start_or_the_end_is_one_warning(fails, service, tmp_path, caplog):
    service("trackio", fails=fails)
    tracking = Tracking("trackio", [quick()], ["a-s0"], tmp_path)
    for step in (2, 4):
        tracking.chunk([outcome_at(step)], np.ones((2, 2)), rate=1.0)
    tracking.end([outcome_at(4)])
    assert len(caplog.messages) == 1 and "ConnectionError" in caplog.messages[0]


def test_no_tracker_is_asked_for_by_default(tmp_path):
    tracking = Tracking("", [quick()], ["a-s0"], tmp_path / "results")
    tracking.chunk([outcome_at(2)], np.ones((2, 2)), rate=1.0)
    tracking.end([outcome_at(2)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [TRAIN, ("sweep", "--models", "lru", "--tasks", "listops", "--jobs", "1")])
def test_a_missing_package_is_one_sentence(verb, command, tmp_path, monkeypatch):
    monkeypatch.setitem(PACKAGES, "wandb", "package_of_nobody")
    # A service makes a folder of its own name, which is no package.
    (tmp_path / "package_of_nobody").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    message = "wandb needs the package package_of_nobody: run `pip install package_of_nobody`"
    with pytest.raises(ArgumentError, match=f"^track {message}$"):
        check("wandb")
    assert command(*verb, "--track", "wandb") == (2, "", f"error: --track {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["package_of_nobody"]


def test_an_unknown_tracker_is_one_sentence(command):
    code, _, err = command(*TRAIN, "--track", "tensorbord")
    assert code == 2
    assert err.startswith("error: unknown --track 'tensorbord' (did you mean tensorboard?); allowed: tensorboard, ")
