"""What is refused before a run begins, and which runs are finished."""

from dataclasses import replace
from pathlib import Path

import pytest

from ssm_bench.errors import UserError
from ssm_bench.ops import use_backend
from ssm_bench.record import store
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.training import provenance
from ssm_bench.training.checks import check_sizes, writable
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.recording import make_record
from ssm_bench.training.run import earlier, make_trainer, with_seed


@pytest.mark.parametrize(
    ("what", "array", "value", "task"),
    [("token ids", "values", 200, "listops"), ("labels", "labels", 10, "image"), ("labels", "labels", -1, "listops")],
)
def test_ids_and_labels_that_a_model_has_no_place_for_are_refused(what, array, value, task):
    config, dataset = opened(Choices(preset="quick", data="synthetic").config(Cell(model="lru", task=task, seed=0)))
    check_sizes(config, dataset)
    values = getattr(dataset.corpus, array).copy()
    values[-1] = value
    strange = replace(dataset, corpus=replace(dataset.corpus, **{array: values}))
    with pytest.raises(UserError, match=rf"^{what} of {task} must lie in 0\.\.\d+; its data have .*{value}"):
        check_sizes(config, strange)


def test_a_training_step_can_be_made_for_a_tpu():
    config, dataset = opened(Choices(preset="quick", data="synthetic").config(Cell(model="s5", task="text", seed=0)))
    trainer = make_trainer(config, dataset)
    with use_backend("associative"):
        traced = trainer.program.train.trace(
            trainer.program.initial_state(), trainer.source.data, *trainer.order.batches(0, 2), trainer.padded
        )
        assert "stablehlo.while" in traced.lower(lowering_platforms=("tpu",)).as_text()


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Leaves a record of a status: that of what `earlier` finds then, for other data or devices if they are given."""
    config, dataset = opened(Choices(preset="quick", data="synthetic").config(Cell(model="lru", task="text", seed=0)))

    def call(status, checksum="", devices=1, kind="", divide="batch"):
        outcome = Outcome(status=status)
        store.write(make_record(config, dataset, outcome, parameters=1, state_size=None, devices=1), tmp_path)
        seen = replace(dataset, card=dataset.card | ({"checksum": checksum} if checksum else {}))
        here = provenance.device(devices)
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "device", lambda used: here | ({"kind": kind} if kind else {}))
            other = with_seed(config, config.seed)
            other.train.divide = divide
            record = earlier(other, seen, tmp_path, devices=devices)
        return record.status if record else None

    return call


@pytest.mark.parametrize("status", ["diverged", "oom"])
def test_a_finished_run_counts_for_the_data_it_saw_alone(found, status):
    assert found(status) == status
    assert found(status, checksum="f" * 64) is None


@pytest.mark.parametrize("status", ["partial", "error"])
def test_what_is_not_finished_is_no_finished_run(found, status):
    assert found(status) is None


def test_running_out_of_memory_is_final_on_the_same_devices_alone(found):
    for elsewhere in ({"devices": 2}, {"kind": "larger"}, {"divide": "time"}):
        assert found("oom", **elsewhere) is None
    assert found("diverged", devices=2) == found("diverged", kind="larger") == "diverged"


@pytest.mark.parametrize("name", ["file", "file/below", "nowhere", "nowhere/below"])
def test_a_folder_that_can_not_be_made_is_refused(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(UserError, match=f"cannot write to the folder .*{name}: choose another"):
        writable(tmp_path, tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a file system that takes no files")
def test_a_folder_where_nobody_can_write_is_refused():
    with pytest.raises(UserError, match="cannot write to the folder /proc/results"):
        writable(Path("/proc/results"))


def test_a_folder_that_can_be_made_is_left_to_be_made(tmp_path):
    writable(tmp_path, tmp_path / "results" / "runs")
    assert not list(tmp_path.iterdir())
