"""A checkpoint is what was saved, and a run belongs to one process at a time."""

import errno
import io
import logging
import os
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies
from orbax.checkpoint import v1

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.training import checkpoint
from ssm_bench.training import run as run_module
from ssm_bench.training.checkpoint import Checkpoints, UnderWay, lock_file, reserved
from ssm_bench.training.run import checkpoint_folder, with_seed

from .test_loop import SIZES, config_of, run_in

pytestmark = pytest.mark.usefixtures("shared_programs")

HOLD = """
import sys, time
from pathlib import Path
from ssm_bench.training.checkpoint import reserved
with reserved([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(1000)
"""


def test_a_run_under_way_is_refused_until_its_process_is_gone(tmp_path):
    config, dataset = config_of()
    folder = checkpoint_folder(config, dataset, tmp_path / "ckpt")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UnderWay, match=f"^this run is under way in process {holder.pid} on .*: wait until it ends, or"):
        run_in(tmp_path, config, dataset)
    assert not folder.exists() and not (tmp_path / "results").exists()
    # Another seed is another run.
    with reserved([checkpoint_folder(with_seed(config, config.seed + 1), dataset, tmp_path / "ckpt")]):
        pass
    holder.kill()
    holder.communicate()
    assert run_in(tmp_path, config, dataset).status == "ok"


def test_a_run_under_way_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    def never(*_, **__):
        raise MemoryError("the other process has it")

    monkeypatch.setattr(run_module, "make_trainer", never)
    config, dataset = config_of()
    with reserved([checkpoint_folder(config, dataset, tmp_path / "ckpt")]), pytest.raises(UnderWay):
        run_in(tmp_path, config, dataset)
    assert not (tmp_path / "results").exists()


def test_a_seed_in_a_program_of_several_is_the_same_run(tmp_path):
    config, dataset = config_of()
    with reserved([checkpoint_folder(config, dataset, tmp_path / "ckpt")]), pytest.raises(UnderWay):
        run_in(tmp_path, config, dataset, seeds=(0, config.seed))
    assert not (tmp_path / "results").exists()


def test_a_run_is_reserved_while_it_trains(tmp_path):
    config, dataset = config_of()
    refused = []

    def tell(*_):
        with pytest.raises(UnderWay, match=f"process {os.getpid()} "), reserved(folders):
            refused.append(False)
        refused.append(True)

    folders = [checkpoint_folder(config, dataset, tmp_path / "ckpt")]
    run_in(tmp_path, config, dataset, tell=tell)
    assert refused and all(refused)
    with reserved(folders):
        pass


@pytest.mark.parametrize(("verb", "code"), [("train", 2), ("sweep", 0)])
def test_a_second_command_is_refused_and_a_second_sweep_goes_on(tmp_path, monkeypatch, capsys, verb, code):
    monkeypatch.chdir(tmp_path)
    config, dataset = config_of()
    command = ["--preset", "quick", "--data", "synthetic", *SIZES]
    if verb == "train":
        command += ["--model", "transformer", "--task", "text", "--seed", "1"]
    else:
        command += ["--models", "transformer,gru", "--tasks", "text", "--seeds", "1", "--jobs", "1", "--no-table"]
    with reserved([checkpoint_folder(config, dataset, tmp_path / "checkpoints")]):
        assert main([verb, *command]) == code
    printed = capsys.readouterr()
    assert f"this run is under way in process {os.getpid()} on " in printed.err
    if verb == "sweep":
        assert printed.out == "1 ok, 1 under way\n"


TREE = {"x": jnp.arange(5000.0), "y": {"count": jnp.int32(3), "z": jnp.full((2, 3), 1 + 2j, jnp.complex64)}}


def tree_of(step):
    return jax.tree.map(lambda leaf: leaf + step, TREE)


def saved(folder, *steps):
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(step, tree_of(step), {"step": step, "loss": float("nan")})
    return checkpoints


def found_in(folder):
    """The step of the checkpoint that is used, after a comparison of all of its arrays."""
    tree, progress = Checkpoints(folder).restore(TREE)
    jax.tree.map(np.testing.assert_array_equal, tree, tree_of(progress["step"]))
    return progress["step"]


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_two_newest_checkpoints_are_kept(tmp_path):
    assert Checkpoints(tmp_path / "run").restore(TREE) is None
    assert Checkpoints(tmp_path / "run").progress() is None
    assert not list(tmp_path.iterdir())
    saved(tmp_path / "run", 2, 10, 9)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["10", "9"]
    assert found_in(tmp_path / "run") == 10
    Checkpoints(tmp_path / "run").clear()
    assert Checkpoints(tmp_path / "run").restore(TREE) is None


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    saved(folder, 10, 20)
    return folder


def damaged_copy(original, choice, kind, position):
    """A copy of a folder with one file damaged; None where its bytes stay the same."""
    folder = original.parent / "damaged" / original.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    there = files(folder / "20")
    path = there[int(choice * len(there))]
    content = path.read_bytes()
    place = int(position * len(content))
    if kind == "flip" and content:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(8 * choice)]) + content[place + 1 :])
    elif kind == "cut":
        path.write_bytes(content[:place])
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(place).bytes(len(content)))
    elif kind == "grow":
        path.write_bytes(content + b"x")
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif kind == "gone":
        path.unlink()
    return folder if not path.is_file() or path.read_bytes() != content else None


UNIT = strategies.floats(0, 1, exclude_max=True)


@settings(max_examples=60)
@given(UNIT, strategies.sampled_from(["flip", "cut", "noise", "grow", "folder", "pipe", "gone"]), UNIT)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(two_checkpoints, choice, kind, position):
    folder = damaged_copy(two_checkpoints, choice, kind, position)
    assume(folder is not None)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger("ssm_bench").addHandler(handler)
    try:
        assert found_in(folder) == 10
    finally:
        logging.getLogger("ssm_bench").removeHandler(handler)
    assert re.fullmatch(r"damaged checkpoint in .* \(step 20: .*\): using step 10 instead\n", said.getvalue())


def test_a_checkpoint_of_another_run_is_refused(two_checkpoints, tmp_path):
    """That of another seed holds arrays of the same shapes."""
    shutil.copytree(two_checkpoints, tmp_path / "other")
    with pytest.raises(UserError, match=f"it belongs to the run {two_checkpoints.name}; "):
        Checkpoints(tmp_path / "other").restore(TREE)


def test_a_damaged_checkpoint_is_kept_under_another_name_when_its_step_is_saved_again(tmp_path):
    saved(tmp_path, 10, 20)
    for damaged in ("20.damaged", "20.damaged1"):
        (tmp_path / "20" / "progress.json").write_text("{}")
        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.restore(TREE)[1]["step"] == 10
        assert not (tmp_path / damaged).exists()
        checkpoints.save(20, tree_of(20), {"step": 20})
        assert (tmp_path / damaged / "progress.json").read_text() == "{}"
        assert found_in(tmp_path) == 20


@pytest.mark.parametrize("damage", ["flip", "no checksums"])
def test_without_an_undamaged_checkpoint_one_sentence_says_how_to_start_again(tmp_path, damage):
    saved(tmp_path, 10, 20)
    for step in (10, 20):
        # Earlier versions wrote no checksums.
        path = tmp_path / str(step) / ("progress.json" if damage == "flip" else "checksums.json")
        path.write_bytes(path.read_bytes().swapcase()) if damage == "flip" else path.unlink()
    before = files(tmp_path)
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"^no checkpoint in .* \(step 20: .*; step 10: .*\): delete that folder to"
        ):
            Checkpoints(tmp_path).restore(TREE)
    assert files(tmp_path) == before


def test_arrays_of_other_code_are_one_sentence(tmp_path, capfd):
    saved(tmp_path, 10)
    for like in (TREE | {"w": jnp.zeros(2)}, TREE | {"x": jnp.zeros(4)}, TREE | {"x": jnp.zeros(5000, jnp.int32)}):
        with pytest.raises(UserError, match="^the checkpoint .* has different arrays than this model and optimizer"):
            Checkpoints(tmp_path).restore(like)
    assert capfd.readouterr().err == ""


# Saves with a limit on the size of files, where the system refuses to write as it does on a full disk.
FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import jax.numpy as jnp
from ssm_bench.errors import UserError
from ssm_bench.training.checkpoint import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]))
checkpoints.save(1, {"x": jnp.ones(3)}, {"step": 1})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    checkpoints.save(2, {"x": jnp.array(np.random.default_rng(0).normal(size=100_000))}, {"step": 2})
except UserError as error:
    print(error)
"""


def test_a_save_that_the_system_refuses_is_one_sentence_and_loses_nothing(tmp_path):
    told = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert told.stdout == f"cannot write a checkpoint into {tmp_path}: File too large\n" and told.stderr == ""
    assert Checkpoints(tmp_path).steps() == [1]
    assert Checkpoints(tmp_path).progress() == {"step": 1}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ValueError(
            "RESOURCE_EXHAUSTED: " + 40 * "path " + "Failed to write: [os_error_code='28'] [source locations=...]"
        ),
    ],
)
@pytest.mark.parametrize("verb", ["train", "sweep"])
def test_a_full_disk_ends_a_run_with_one_sentence(tmp_path, monkeypatch, capsys, verb, error):
    def full(*_, **__):
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(v1, "save", full)
    command = ["--preset", "quick", "--data", "synthetic", *SIZES]
    if verb == "train":
        command += ["--model", "transformer", "--task", "text", "--seed", "1"]
    else:
        command += ["--models", "transformer", "--tasks", "text", "--seeds", "1", "--jobs", "1", "--no-table"]
    assert main([verb, *command]) == (2 if verb == "train" else 1)
    printed = capsys.readouterr()
    sentence = f"error: cannot write a checkpoint into {tmp_path}/checkpoints/"
    assert printed.err.count(sentence) == 1 and ": No space left on device" in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "results").exists()


def test_files_of_another_user_are_one_sentence(tmp_path, monkeypatch):
    saved(tmp_path / "run", 10)

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_sha256", refused)
        with pytest.raises(UserError, match="^cannot read the checkpoint .*: Permission denied; choose another folder"):
            Checkpoints(tmp_path / "run").restore(TREE)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.shutil, "rmtree", refused)
        with pytest.raises(UserError, match="^cannot delete the checkpoints in .*: Permission denied"):
            Checkpoints(tmp_path / "run").clear()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.FileLock, "acquire", refused)
        with (
            pytest.raises(UserError, match="^cannot lock .*: Permission denied; choose another folder with --check"),
            reserved([tmp_path / "run"]),
        ):
            pass
    # A folder in place of the lock is another kind of the same mistake.
    lock_file(tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="^cannot lock .*: Is a directory"), reserved([tmp_path / "other"]):
        pass
