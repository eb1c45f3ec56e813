"""What times the authors' code, without it and without a GPU: replacements in a clone, the record, mistakes."""

import dataclasses
import importlib
import importlib.util
import subprocess
from pathlib import Path

import msgspec
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


@pytest.fixture
def timed_again(peers, repository, tmp_path):
    """Writes the record of another run, as the program does, and gives what stands then."""

    def write(step_ms, *, kind="NVIDIA H200", batch=32, operation="", repository=repository):
        if operation:
            measured = {f"cuda_forward_backward_ms_at_{shape}": step_ms for shape in ("2x3", "4x5")}
            subject = {"operation": operation}
        else:
            measured = {"step_ms": step_ms, "batch_size": batch}
            subject = {"model": "s5", "task": "text"}
        timed, where = peers("timing").Timed(measured, [f"{step_ms}"]), GPU | {"kind": kind}
        record = peers("timing").record(timed, where=where, packages=[], repository=repository, **subject)
        kept = peers("keep").fastest(record, tmp_path)
        store.write_speed(kept, tmp_path)
        return kept

    return write


@pytest.mark.parametrize("operation", ["", "selective_scan"])
def test_of_several_runs_the_fastest_stands_and_says_so(timed_again, tmp_path, operation):
    fastest = "the fastest of at least {} runs on this kind of device"
    assert timed_again(20.0, operation=operation).notes == ["20.0"]
    assert timed_again(25.0, operation=operation).notes == ["20.0", fastest.format(2)]
    assert timed_again(15.0, operation=operation).notes == ["15.0", fastest.format(3)]
    assert len(list(store.speed_paths(tmp_path))) == 1


def test_a_run_of_other_sizes_or_another_commit_is_not_compared(timed_again, repository):
    timed_again(20.0)
    assert timed_again(25.0, batch=64).notes == ["25.0"]
    assert timed_again(30.0, batch=64, repository=dataclasses.replace(repository, commit="0" * 40)).notes == ["30.0"]


def test_another_kind_of_device_gets_a_record_of_its_own(timed_again, tmp_path):
    timed_again(20.0)
    other = {"kind": "NVIDIA H100 80GB HBM3"}
    assert timed_again(10.0, **other).name == "peer-someone-s5-text-gpu-nvidia-h100-80gb-hbm3"
    assert timed_again(15.0, **other).measurements["step_ms"] == 10.0
    assert [path.name for path in store.speed_paths(tmp_path)] == [
        "peer-someone-s5-text-gpu-nvidia-h100-80gb-hbm3.json",
        "peer-someone-s5-text-gpu.json",
    ]
    assert timed_again(30.0).measurements["step_ms"] == 20.0


def test_the_record_holds_what_the_note_says(peers, repository, monkeypatch):
    monkeypatch.setenv("SSM_BENCH_NOTE", "beside another run")
    timed = peers("timing").Timed({"step_ms": 1.0}, ["a note"])
    record = peers("timing").record(timed, where=GPU, packages=[], repository=repository, model="s5", task="text")
    assert record.notes == ["a note", "beside another run"]


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


def test_a_slower_run_leaves_the_record_and_the_program_says_so(program, peers, tmp_path, monkeypatch, capsys):
    arguments = ["--code", str(tmp_path), "--which", "lru", "--tasks", "text", "--results", str(tmp_path / "results")]
    for step_ms, created in ((20.0, "2026-01-02T03:04:05Z"), (30.0, "2026-01-03T03:04:05Z")):
        timed = peers("timing").Timed({"step_ms": step_ms}, [])
        done = peers("timing").record(
            timed, where=GPU, packages=[], repository=peers("clones").LRU, model="lru", task="text"
        )
        done = msgspec.structs.replace(done, created=created)
        monkeypatch.setattr(program, "time_one", lambda *_, done=done, **__: done)
        assert program.main(arguments) == 0
    assert capsys.readouterr().out.endswith("; the run of 2026-01-02T03:04:05Z was faster and stands\n")
    (path,) = store.speed_paths(tmp_path / "results")
    assert store.read_speed(path).measurements["step_ms"] == 20.0


def test_every_peer_is_a_model_of_ours_or_an_operation(program, peers):
    from ssm_bench.config import experiment_names
    from ssm_bench.train.operations import OPERATIONS

    for which, peer in program.PEERS.items():
        assert which in experiment_names() if not peer.operation else peer.operation in OPERATIONS
        assert callable(peers(peer.module).measure)
