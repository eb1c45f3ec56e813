"""What times and trains the authors' code, without it and without a GPU: clones, the loop, records, mistakes."""

import dataclasses
import importlib
import importlib.util
import subprocess
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ssm_bench.bench.recording import Findings
from ssm_bench.data import load
from ssm_bench.errors import UserError
from ssm_bench.record import peer, store
from ssm_bench.report import peers as report_peers

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
    found = timing.findings({"step_ms": 20.0} | cell.sizes(20.0, directions=2), ["a note"])
    record = timing.record(found, where=GPU, packages=["numpy"], repository=repository, model="s5", task="retrieval")
    assert record.implementation == f"someone/Made-Up@{repository.commit[:7]}"
    assert record.revision.commit == repository.commit and record.revision.dirty
    assert record.value("sequences_per_second") == 1600
    assert record.value("tokens_per_second") == 1600 * 2 * 4000
    path = store.write_speed(record, tmp_path)
    assert path.name == "peer-someone-s5-retrieval-gpu.json"
    assert store.read_speed(path) == record


def test_an_operation_has_a_record_without_a_model(peers, repository):
    found = Findings()
    found.add({"forward_ms": 1.0}, backend="cuda", shape=(2, 3, 4, 5))
    record = peers("timing").record(found, where=GPU, packages=[], repository=repository, operation="selective_scan")
    assert (record.name, record.operation) == ("peer-someone-selective_scan-gpu", "selective_scan")
    assert record.benchmark == "scan" and record.backends("forward_ms") == ["cuda"]
    assert record.model is None and record.task is None


@pytest.fixture
def timed_again(peers, repository, tmp_path):
    """Writes the record of another run, as the program does, and gives what stands then."""

    def write(step_ms, *, kind="NVIDIA H200", batch=32, operation="", repository=repository):
        found, where = Findings(notes=[f"{step_ms}"]), GPU | {"kind": kind}
        if operation:
            for shape in ((2, 3), (4, 5)):
                found.add({"forward_backward_ms": step_ms}, backend="cuda", shape=shape)
            subject = {"operation": operation}
        else:
            found.add({"step_ms": step_ms, "batch_size": batch})
            subject = {"model": "s5", "task": "text"}
        record = peers("timing").record(found, where=where, packages=[], repository=repository, **subject)
        kept = peers("keep").fastest(record, tmp_path)
        store.write_speed(kept, tmp_path)
        return kept

    return write


@pytest.mark.parametrize("operation", ["", "selective_scan"])
def test_of_several_runs_the_fastest_stands_and_says_so(timed_again, tmp_path, operation):
    for step_ms, note, runs in ((20.0, "20.0", 1), (25.0, "20.0", 2), (15.0, "15.0", 3)):
        stands = timed_again(step_ms, operation=operation)
        assert (stands.notes, stands.runs) == ([note], runs)
    assert len(list(store.speed_paths(tmp_path))) == 1


def test_a_run_of_other_sizes_or_another_commit_is_not_compared(timed_again, repository):
    timed_again(20.0)
    assert timed_again(25.0, batch=64).notes == ["25.0"]
    assert timed_again(30.0, batch=64, repository=dataclasses.replace(repository, commit="0" * 40)).notes == ["30.0"]


def test_another_kind_of_device_gets_a_record_of_its_own(timed_again, tmp_path):
    timed_again(20.0)
    other = {"kind": "NVIDIA H100 80GB HBM3"}
    assert timed_again(10.0, **other).name == "peer-someone-s5-text-gpu-nvidia-h100-80gb-hbm3"
    assert timed_again(15.0, **other).value("step_ms") == 10.0
    assert [path.name for path in store.speed_paths(tmp_path)] == [
        "peer-someone-s5-text-gpu-nvidia-h100-80gb-hbm3.json",
        "peer-someone-s5-text-gpu.json",
    ]
    assert timed_again(30.0).value("step_ms") == 20.0


def test_the_record_holds_what_the_note_says(peers, repository, monkeypatch):
    monkeypatch.setenv("SSM_BENCH_NOTE", "beside another run")
    found = peers("timing").findings({"step_ms": 1.0}, ["a note"])
    record = peers("timing").record(found, where=GPU, packages=[], repository=repository, model="s5", task="text")
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
    found = peers("timing").findings({"step_ms": 20.0}, [])
    done = peers("timing").record(
        found, where=GPU, packages=[], repository=peers("clones").LRU, model="lru", task="text"
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
        timed = peers("timing").findings({"step_ms": step_ms}, [])
        done = peers("timing").record(
            timed, where=GPU, packages=[], repository=peers("clones").LRU, model="lru", task="text"
        )
        done = msgspec.structs.replace(done, created=created)
        monkeypatch.setattr(program, "time_one", lambda *_, done=done, **__: done)
        assert program.main(arguments) == 0
    assert capsys.readouterr().out.endswith("; the run of 2026-01-02T03:04:05Z was faster and stands\n")
    (path,) = store.speed_paths(tmp_path / "results")
    assert store.read_speed(path).value("step_ms") == 20.0


def test_every_peer_is_a_model_of_ours_or_an_operation(program, peers):
    from ssm_bench.bench.operations import OPERATIONS
    from ssm_bench.config import experiment_names

    for which, timed in program.PEERS.items():
        assert which in experiment_names() if not timed.operation else timed.operation in OPERATIONS
        assert callable(peers(timed.module).measure)


class Counter:
    """A trainee without a framework: its state is a number, its accuracy rises to step 30 and falls afterwards."""

    recipe, notes = {"rate": 0.1}, ["made up"]

    def __init__(self, schedule):
        self.seen, self.fails_at = np.zeros(2), getattr(schedule, "fails_at", 0)

    def train(self, batches, first):
        for batch in batches:
            self.seen += 1, (first + 1) * int(batch.inputs.sum())
        return 1 / self.seen[0] if self.seen[0] != self.fails_at else float("nan")

    def evaluate(self, batches):
        assert sum(len(batch.labels) for batch in batches) == 64
        return 1.0, 1 - abs(self.seen[0] - 30) / 100

    def dump(self):
        return self.seen.tobytes()

    def restore(self, state):
        self.seen = np.frombuffer(state).copy()

    def peak_bytes(self):
        return None


class Leave:
    """Asked for a reason to stop, it has one from the n-th time on."""

    def __init__(self, after=10**9):
        self.after, self.signal = after, ""

    def reason(self, ahead=0.0):
        self.after -= 1
        return "deadline" if self.after < 0 else ""


@pytest.fixture
def trained(peers, tmp_path):
    """Trains a Counter over four epochs on toy data, and gives its record and its progress."""
    training = peers("peer_training")
    dataset = load("listops", data="synthetic", examples=100, max_length=32)
    cell = training.cell_of("s5", "listops", dataset, toy=True)
    repository = peers("clones").S5

    @dataclasses.dataclass(frozen=True)
    class Schedule(training.Schedule):
        fails_at: int = 0

    def run(folder="run", stop=None, seed=0, steps=48, fails_at=0):
        schedule = Schedule(steps, 5, 76800, fails_at)
        feed = training.Feed(dataset, 8, seed)
        identity = training.identity(cell, repository, dataset, schedule, seed)
        checkpoints = training.Checkpoints(tmp_path / folder, identity)
        trainee, part = Counter(schedule), training.part(GPU, ["numpy"])
        outcome = training.train(trainee, feed, schedule, checkpoints, stop or Leave(), lambda words: None, part)
        return training.record(cell, repository, trainee, dataset, schedule, seed, outcome), outcome[1]

    return run


def without_times(record):
    """What of a record does not depend on the clock."""
    kept = [msgspec.structs.replace(point, seconds=None) for point in record.curve]
    return record.status, record.steps, record.result, kept


def test_a_peer_is_scored_on_the_test_set_at_its_best_validation(trained, tmp_path):
    record, _ = trained()
    assert (record.status, record.steps.done, record.implementation) == ("ok", 48, "lindermanlab/S5@3c18fdb")
    assert [point.step for point in record.curve] == [12, 24, 36, 48]  # each epoch of 100 // 8 steps
    assert (record.result.best_step, record.result.test_accuracy) == (24, pytest.approx(0.94))
    assert record.source.changes[0].startswith("s5/train_helpers.py: ")
    path = peer.write(record, tmp_path)
    checksum = record.data.checksum[:8]
    assert path == tmp_path / f"peers/listops/s5/lindermanlab-48-{checksum}-s0.json"
    assert peer.read(path) == record
    assert report_peers.problems(tmp_path) == []


@pytest.mark.parametrize("after", range(5))
def test_a_peer_that_is_resumed_ends_as_one_that_never_stopped(trained, after):
    record, _ = trained("at once")
    partial, _ = trained("parts", Leave(after))
    assert partial.status == "partial" and partial.steps.done < 48
    assert (partial.result is None) == (partial.curve == [])
    resumed, progress = trained("parts")
    assert without_times(resumed) == without_times(record)
    assert progress.step == 48


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(trained):
    trained(stop=Leave(3))
    record, _ = trained(fails_at=36)
    assert (record.status, record.steps.done) == ("diverged", 24)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(trained, tmp_path):
    trained(stop=Leave(3))
    with pytest.raises(UserError, match="is of another run: its seed is 0, not 1"):
        trained(seed=1)
    (state,) = (tmp_path / "run").glob("step-*/state")
    state.write_bytes(state.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="is damaged"):
        trained()


def test_batches_are_those_of_our_splits_padded_as_the_authors_do(peers):
    dataset = load("listops", data="synthetic", examples=100, max_length=32)
    full, longest = (peers("feed").Feed(dataset, 8, 0, to_longest=to_longest) for to_longest in (False, True))
    epoch = list(full.training(0, full.epoch_steps))
    assert sum(len(batch.labels) for batch in epoch) == 96
    for batch, short in zip(epoch, longest.training(0, full.epoch_steps), strict=True):
        assert batch.inputs.shape == (8, 32) and short.inputs.shape[1] == batch.lengths.max()
        np.testing.assert_array_equal(batch.inputs[:, : short.inputs.shape[1]], short.inputs)
        assert (np.count_nonzero(batch.inputs, 1) == batch.lengths).all()
    (later,) = full.training(5, 1)
    np.testing.assert_array_equal(later.inputs, epoch[5].inputs)
    tests = np.concatenate([batch.labels for batch in full.split("test")])
    np.testing.assert_array_equal(tests, dataset.labels[dataset.splits["test"]])


def test_pairs_have_their_first_documents_before_their_second_ones_and_pixels_are_standardized(peers):
    pairs = load("retrieval", data="synthetic", examples=64, max_length=32)
    (batch,) = peers("feed").Feed(pairs, 4, 0).training(0, 1)
    assert batch.inputs.shape == (8, 32) and batch.labels.shape == (4,)
    first = next(iter(peers("feed").Feed(pairs, 4, 0).split("test")))
    documents = pairs.documents[pairs.splits["test"][:4]]
    np.testing.assert_array_equal(first.inputs[4:], pairs.padded()[0][documents[:, 1]])
    image = load("image", data="synthetic", examples=64, max_length=16)
    (batch,) = peers("feed").Feed(image, 4, 0).training(0, 1)
    assert batch.inputs.shape == (4, 16, 1) and batch.inputs.dtype == np.float32 and batch.lengths is None


def test_a_share_keeps_the_published_warm_up_up_to_a_tenth(peers):
    training = peers("peer_training")
    cell = peers("timing").Cell("s5", "listops")
    of = training.Schedule.of
    assert of(cell, 1.0) == training.Schedule(76800, 1920, 76800)
    assert of(cell, 0.5) == training.Schedule(38400, 1920, 76800)
    assert of(cell, 0.125) == training.Schedule(9600, 960, 76800)


def test_the_value_next_to_a_cell_is_a_finished_run_on_the_same_data(trained, tmp_path):
    record, _ = trained()
    real = msgspec.structs.replace(record, data=msgspec.structs.replace(record.data, kind="generated"))
    peer.write(record, tmp_path)  # on synthetic data
    assert report_peers.values(tmp_path) == {}
    partial = msgspec.structs.replace(
        real, status="partial", steps=msgspec.structs.replace(real.steps, planned=76800, done=60000)
    )
    peer.write(partial, tmp_path)
    assert report_peers.values(tmp_path) == {("s5", "listops"): partial}
    longer = msgspec.structs.replace(real, steps=msgspec.structs.replace(real.steps, planned=50, done=50))
    for shown in (real, longer):
        peer.write(shown, tmp_path)
    assert report_peers.values(tmp_path) == {("s5", "listops"): longer}
    assert longer.share == 50 / 76800
    assert report_peers.values(tmp_path, "another checksum") == {}


def test_what_is_wrong_with_a_peers_record_is_said(trained, tmp_path):
    record, _ = trained()
    path = peer.write(record, tmp_path)
    path.rename(path.with_name("other.json"))
    torn = msgspec.structs.replace(record, steps=msgspec.structs.replace(record.steps, done=40))
    peer.write(torn, tmp_path)
    (tmp_path / "peers/broken.json").write_text("{}")
    places = "\n".join(report_peers.problems(tmp_path))
    for said in (
        "broken.json: field (top level): Object missing required field `schema_version`",
        "other.json: belongs at",
        "status is 'ok' after 40 of 48 steps",
    ):
        assert said in places
    with pytest.raises(UserError, match="field result is null"):
        peer.validate(msgspec.to_builtins(msgspec.structs.replace(record, result=None)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--train", "mamba"], "unknown --train 'mamba'"),
        (["--train", "s5", "--task", "lisp"], "unknown --task 'lisp'"),
        (["--train", "s5", "--share", "1.5"], "--share is a share of the published steps in (0, 1]; got 1.5"),
        (["--train", "s5", "--deadline", "soon"], "--deadline takes a time"),
        (["--train", "s5", "--seed", "-1"], "--seed takes a whole number"),
        (["--train", "s5"], "there is no clone of lindermanlab/S5"),
    ],
)
def test_a_mistake_in_training_is_one_sentence(program, arguments, said, tmp_path, capsys):
    assert program.main(["--code", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1


def test_an_export_stands_for_a_clone(peers, clone, repository, tmp_path):
    export = tmp_path / "exports" / clone.name
    export.mkdir(parents=True)
    (export / "model.py").write_text((clone / "model.py").read_text())
    assert "there is no clone" in refusal(peers, repository, export.parent)
    (export / "COMMIT").write_text("0" * 40 + "\n")
    assert "is at commit 0000000" in refusal(peers, repository, export.parent)
    (export / "COMMIT").write_text(repository.commit + "\n")
    for _ in range(2):
        assert peers("clones").prepare(repository, export.parent) == export
        assert (export / "model.py").read_text() == "a = new(1)\nb = new(2)\nc = here\n"


def test_a_trained_peer_is_a_model_of_ours_with_a_trainee(program, peers):
    assert program.TRAINED == ("s5", "lru", "s4", "s4d")
    for which in program.TRAINED:
        assert callable(peers(program.PEERS[which].module).trainee)


def test_the_program_writes_the_record_once(program, peers, tmp_path, monkeypatch, capsys):
    """End to end but for the authors' code, whose place a Counter takes."""
    training, clones = peers("peer_training"), peers("clones")
    synthetic = load("listops", data="synthetic", examples=100, max_length=32)
    monkeypatch.setattr("ssm_bench.data.load", lambda task, **_: synthetic)
    monkeypatch.setattr(clones, "prepare", lambda *_: tmp_path)

    monkeypatch.setattr(peers("s5_step"), "trainee", lambda cell, clone, schedule, seed: Counter(schedule))
    monkeypatch.setattr(training.Schedule, "of", classmethod(lambda cls, cell, share: cls(24, 2, 76800)))
    arguments = ["--code", str(tmp_path), "--train", "s5", "--results", str(tmp_path / "results")]
    arguments += ["--checkpoints", str(tmp_path / "checkpoints")]
    assert program.main(arguments) == 0
    assert "s5 listops: ok after 24 of 24 steps, test" in capsys.readouterr().out
    (path,) = peer.paths(tmp_path / "results")
    assert peer.read(path).result is not None
    assert program.main(arguments) == 0
    assert f"finished before, {path}" in capsys.readouterr().out
