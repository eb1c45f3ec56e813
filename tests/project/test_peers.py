"""What times the authors' code, without it and without a GPU: replacements in a clone, the record, mistakes."""

import dataclasses
import importlib
import importlib.util
import subprocess
from pathlib import Path

import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import store

PEERS = Path(__file__).parents[2] / "scripts/peers"
GPU = {"platform": "gpu", "kind": "NVIDIA H200", "count": 1}


@pytest.fixture
def peers(monkeypatch):
    """Imports a module of scripts/peers, as Python does that is given the folder."""
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module


@pytest.fixture
def program(peers):
    """The module that `python scripts/peers` runs."""
    spec = importlib.util.spec_from_file_location("peers_program", PEERS / "__main__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path):
    """A repository of one commit with one file."""
    folder = tmp_path / "Made-Up"
    folder.mkdir()
    (folder / "model.py").write_text("a = old(1)\nb = old(2)\nc = gone\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def repository(peers, clone):
    """What is said of that repository."""
    clones = peers("clones")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True, check=True)
    replacements = (
        clones.Replacement("model.py", "old(", "new(", times=2),
        clones.Replacement("model.py", "gone", "here"),
    )
    return clones.Repository("someone/Made-Up", commit.stdout.strip(), replacements)


def refusal(peers, repository, code):
    """The one sentence with which a clone is refused."""
    with pytest.raises(UserError) as refused:
        peers("clones").prepare(repository, code)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_replacements_are_made_once(peers, clone, repository):
    for _ in range(2):
        assert peers("clones").prepare(repository, clone.parent) == clone
        assert (clone / "model.py").read_text() == "a = new(1)\nb = new(2)\nc = here\n"


def test_a_clone_that_is_not_there_is_told_how_to_make(peers, repository, tmp_path):
    assert "git clone https://github.com/someone/Made-Up" in refusal(peers, repository, tmp_path / "nowhere")


def test_another_commit_is_refused(peers, clone, repository):
    other = dataclasses.replace(repository, commit="0" * 40)
    assert f"is at commit {repository.commit[:7]}; what is timed is 0000000" in refusal(peers, other, clone.parent)


def test_a_text_that_is_not_found_is_refused(peers, clone, repository):
    lost = peers("clones").Replacement("model.py", "lost", "found")
    other = dataclasses.replace(repository, replacements=(*repository.replacements, lost))
    assert "holds 'lost' 0 times; expected: 1" in refusal(peers, other, clone.parent)
    assert "old(1)" in (clone / "model.py").read_text()


def test_changes_of_the_user_are_left_alone(peers, clone, repository):
    (clone / "model.py").write_text("mine")
    assert "has changes of its own" in refusal(peers, repository, clone.parent)
    assert (clone / "model.py").read_text() == "mine"


def test_the_record_names_code_and_commit(peers, repository, tmp_path):
    timing = peers("timing")
    cell = timing.Cell("s5", "retrieval")
    assert (cell.batch, cell.rows, cell.length, cell.layers) == (32, 64, 4000, 6)
    timed = timing.Timed({"step_ms": 20.0} | cell.sizes(20.0, directions=2), ["a note"])
    record = timing.record(timed, where=GPU, packages=["numpy"], repository=repository, model="s5", task="retrieval")
    assert record.implementation == f"someone/Made-Up@{repository.commit[:7]}"
    assert record.revision.commit == repository.commit and record.revision.dirty
    assert record.measurements["sequences_per_second"] == 1600
    assert record.measurements["tokens_per_second"] == 1600 * 2 * 4000
    path = store.write_speed(record, tmp_path)
    assert path.name == "peer-someone-s5-retrieval-gpu.json"
    assert store.read_speed(path) == record


def test_an_operation_has_a_record_without_a_model(peers, repository):
    timed = peers("timing").Timed({"cuda_forward_ms_at_2x3x4x5": 1.0}, [])
    record = peers("timing").record(timed, where=GPU, packages=[], repository=repository, operation="selective_scan")
    assert (record.name, record.operation) == ("peer-someone-selective_scan-gpu", "selective_scan")
    assert record.model is None and record.task is None


def test_steps_are_timed_in_groups_and_alone(peers):
    timing, steps, waits = peers("timing"), [], []
    found = timing.median_ms(lambda: steps.append(1), lambda: waits.append(len(steps)))
    assert set(found) == {"step_ms_one_per_call", "step_ms"}
    assert waits[0] == 3  # a warm-up
    assert waits[-1] - waits[-2] == timing.GROUP


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--which", "s6"], "unknown --which 's6'"),
        (["--tasks", "listops,lisp"], "unknown --tasks 'lisp'"),
        (["--code", "nowhere"], "--code takes the folder of the clones; there is none at nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(program, arguments, said, tmp_path, capsys):
    assert program.main(["--code", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1


def test_a_cell_that_fails_says_so_and_the_next_goes_on(program, tmp_path, capsys):
    assert program.main(["--code", str(tmp_path), "--which", "s5", "--tasks", "listops,text"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["s5 listops", "s5 text"]
    assert all("failed: there is no clone of lindermanlab/S5" in line for line in lines)


@pytest.mark.parametrize("toy", [False, True])
def test_a_cell_is_printed_and_written_but_for_toys(program, peers, tmp_path, monkeypatch, capsys, toy):
    timed = peers("timing").Timed({"step_ms": 20.0}, [])
    done = peers("timing").record(
        timed, where=GPU, packages=[], repository=peers("clones").LRU, model="lru", task="text"
    )
    monkeypatch.setattr(program, "time_one", lambda *_, **__: done)
    arguments = ["--code", str(tmp_path), "--which", "lru", "--tasks", "text", "--results", str(tmp_path / "results")]
    assert program.main([*arguments, *(["--toy"] if toy else [])]) == 0
    assert capsys.readouterr().out.startswith("lru text: step_ms 20, after 0 s")
    assert list(store.speed_paths(tmp_path / "results")) == (
        [] if toy else [tmp_path / "results/speed/peer-nicolaszucchet-lru-text-gpu.json"]
    )


def test_every_peer_is_a_model_of_ours_or_an_operation(program, peers):
    from ssm_bench.config import experiment_names
    from ssm_bench.train.operations import OPERATIONS

    for which, peer in program.PEERS.items():
        assert which in experiment_names() if not peer.operation else peer.operation in OPERATIONS
        assert callable(peers(peer.module).measure)
