"""A run belongs to one process at a time."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from ssm_bench.cli import main
from ssm_bench.errors import UserError
from ssm_bench.train import run as run_module
from ssm_bench.train.checkpoint import Checkpoints, UnderWay, reserved
from ssm_bench.train.run import checkpoint_folder

from .test_loop import config_of, run_in

HOLD = """
import sys, time
from pathlib import Path
from ssm_bench.train.checkpoint import reserved
with reserved([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(1000)
"""


def test_a_run_under_way_is_refused_until_its_process_is_gone(tmp_path):
    config, dataset = config_of()
    folder = checkpoint_folder(config, dataset, tmp_path / "ckpt")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UnderWay, match=f"^this run is under way in process {holder.pid} on .*: wait for its end, or"):
        run_in(tmp_path, config, dataset)
    assert not folder.exists() and not (tmp_path / "results").exists()
    # Another seed is another run.
    config.seed += 1
    assert run_in(tmp_path, config, dataset).status == "ok"
    config.seed -= 1
    holder.kill()
    holder.wait()
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
    config, dataset = config_of("--config.train.steps=4")
    config.seed = 0
    command = ["--preset", "quick", "--data", "synthetic", "--config.train.steps=4", "--config.train.evaluations=2"]
    command += ["--config.train.chunk=5", "--config.model.d_model=8", "--config.model.layers=1"]
    command += ["--config.task.max_length=64", "--config.task.examples=200"]
    if verb == "train":
        command += ["--model", "transformer", "--task", "text"]
    else:
        command += ["--models", "transformer,lru", "--tasks", "text", "--jobs", "1", "--no-table"]
    with reserved([checkpoint_folder(config, dataset, tmp_path / "checkpoints")]):
        assert main([verb, *command]) == code
    printed = capsys.readouterr()
    assert f"this run is under way in process {os.getpid()} on " in printed.err
    if verb == "sweep":
        assert printed.out == "1 ok, 1 under way\n"


def test_a_full_disk_is_told_in_one_sentence(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints.manager, "save", full)
    with pytest.raises(UserError, match=f"can not write a checkpoint into {tmp_path}: No space left on device"):
        checkpoints.save(1, {"x": np.zeros(2)}, {})
    checkpoints.close()
