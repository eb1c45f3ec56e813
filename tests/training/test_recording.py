"""What a record needs is known before the first step, and making one changes nothing."""

import copy
import json

import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.training import provenance
from ssm_bench.training import run as run_module
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.recording import make_record
from ssm_bench.training.run import check_record

TOY = ("--preset", "quick", "--data", "synthetic", "--config.model.d_model=8", "--config.model.layers=1")
TOY += ("--config.task.max_length=64", "--config.task.examples=200", "--config.train.steps=4")
CUSTOM = ("--preset", "custom", *TOY[2:])


@pytest.fixture(scope="module")
def opened_cell():
    return opened(Choices(preset="quick", data="synthetic").config(Cell(model="lru", task="text", seed=0)))


@pytest.fixture
def no_training(monkeypatch):
    def never(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(run_module, "make_trainer", never)


def test_making_a_record_leaves_the_outcome_as_it_is(opened_cell, monkeypatch):
    monkeypatch.setenv("SSM_BENCH_NOTE", "cluster A")
    outcome = Outcome(status="error", message="no luck", origins=[provenance.part(), provenance.part(2)])
    before = copy.deepcopy(outcome)
    config, dataset = opened_cell
    records = [make_record(config, dataset, outcome) for _ in range(3)]
    assert outcome == before
    assert {(record.message, *record.notes) for record in records} == {("no luck", "cluster A")}


def test_text_that_could_act_on_a_terminal_is_replaced(opened_cell):
    # A note that is not UTF-8 was kept in a checkpoint: the run must end all the same.
    part = provenance.part() | {"note": "caf\udce9"}
    config, dataset = opened_cell
    record = make_record(config, dataset, Outcome(status="error", message="\x1b[31mred\x00", origins=[part]))
    assert record.message == "?[31mred?" and record.notes == ["caf?"]


@pytest.mark.parametrize("note", ["caf\udce9", "\x1b[31m", "bell\x07"])
@pytest.mark.parametrize("verb", ["train", "sweep"])
def test_a_note_that_is_not_text_is_refused_before_training(command, no_training, monkeypatch, note, verb):
    monkeypatch.setenv("SSM_BENCH_NOTE", note)
    cell = ("--model", "lru", "--task", "text") if verb == "train" else ("--models", "lru", "--tasks", "text")
    code, _, errors = command(verb, *cell, *TOY, *(["--jobs", "1"] if verb == "sweep" else []))
    assert code == 2 and errors.count("\n") == 1 and "SSM_BENCH_NOTE must be UTF-8 text" in errors


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("report.published_row=nope", "report.published_row must be empty or a row of the published results"),
        ("report.title=\x1b[31mred", "control characters"),
        ("report.title=\ud800", "lone surrogates"),
        ("report.bibtex=@misc{griffin, title={a}} @preamble{b}", "field model.bibtex"),
        ("report.bibtex=@misc{griffin, title={a}", "field model.bibtex"),
    ],
)
def test_a_field_that_no_record_can_have_is_refused_before_training(command, no_training, setting, said):
    # Griffin has no published row of its own.
    code, _, errors = command("train", "--model", "griffin", "--task", "text", *CUSTOM, f"--config.{setting}")
    assert code == 2 and errors.count("\n") == 1 and said in errors


def test_a_place_where_no_record_can_be_written_is_refused_before_training(opened_cell, tmp_path):
    config, dataset = opened_cell
    home = store.home(make_record(config, dataset, Outcome()), tmp_path)
    check_record([config], dataset, tmp_path)
    assert not list(tmp_path.iterdir())
    home.mkdir(parents=True)
    with pytest.raises(UserError, match="something else than a file"):
        check_record([config], dataset, tmp_path)
    home.rmdir()
    home.parent.rmdir()
    # As where a folder belongs to another user: below a folder that can be written to, one that cannot.
    home.parent.touch()
    with pytest.raises(UserError, match="cannot write to the folder"):
        check_record([config], dataset, tmp_path)


def test_train_says_by_its_exit_code_how_a_run_ended(command, tmp_path, monkeypatch):
    arguments = ("train", "--model", "transformer", "--task", "text", *TOY)
    assert command(*arguments)[0] == 0
    code, out, _ = command(*arguments)
    assert code == 0 and "finished before" in out and "commit " in out
    (path,) = store.paths(tmp_path / "results")
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"status": "diverged", "result": None, "message": "loss is not finite"}))
    code, out, _ = command(*arguments)
    assert code == 1 and "finished before" in out
    # Other code may do better.
    monkeypatch.setattr(provenance, "code", lambda: "other code")
    code, out, _ = command(*arguments)
    assert code == 0 and out.startswith("runs again: its record was made by other code (commit ")
    assert store.read(path).status == "ok" and store.read(path).code == "other code"
