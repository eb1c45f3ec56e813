"""The cache is whole or absent, notices damage, and survives two processes."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ssm_bench.data import cache, load, tasks
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError
from tests.data import files

LISTOPS = "listops-words-official"


@pytest.fixture
def prepared(raw_folder, cache_folder):
    """A prepared set of ListOps."""
    files.listops(raw_folder)
    load("listops", progress=False)
    return cache_folder / LISTOPS


def test_opened_arrays_are_memory_mapped(prepared):
    dataset = load("listops", progress=False)
    assert isinstance(dataset.values, np.memmap)
    assert dataset.values.dtype == np.uint8
    assert dataset.offsets.dtype == np.int64
    assert dataset.documents.dtype == dataset.labels.dtype == np.int32


def test_the_raw_files_are_not_needed_again(prepared, raw_folder):
    before = load("listops", progress=False).card
    for path in raw_folder.iterdir():
        path.unlink()
    assert load("listops", data="real", progress=False).card == before


@pytest.mark.parametrize("name", ["values.npy", "offsets.npy", "labels.npy", "card.json"])
def test_a_cut_file_is_noticed_at_opening_and_mended(prepared, name, capsys):
    before = load("listops", progress=False).card
    path = prepared / name
    path.write_bytes(path.read_bytes()[:-1] if name.endswith("npy") else b'{"format"')
    with pytest.raises(UserError, match=r"damaged.*data prepare listops --again"):
        load("listops", progress=False)
    assert files.run("verify", "listops") == 1
    assert files.run("prepare", "listops", "--again") == 0
    assert files.run("verify", "listops") == 0
    assert load("listops", progress=False).card == before
    assert "LRA" not in capsys.readouterr().err


def test_verify_finds_a_flipped_bit(prepared, capsys):
    values = np.load(prepared / "values.npy", mmap_mode="r+")
    values[3] ^= 1
    values.flush()
    assert files.run("verify") == 1
    assert "values.npy" in capsys.readouterr().out


def test_verify_finds_a_changed_card(prepared, capsys):
    card = json.loads((prepared / "card.json").read_text())
    card["parts"]["train"] += 1
    (prepared / "card.json").write_text(json.dumps(card))
    assert files.run("verify") == 1
    assert "card.json is not what was written" in capsys.readouterr().out


def test_a_failure_while_writing_leaves_nothing(raw_folder, cache_folder, monkeypatch):
    files.listops(raw_folder)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match=r"No space left.*SSM_BENCH_CACHE"):
        load("listops", progress=False)
    assert [path for path in cache_folder.iterdir() if path.suffix != ".lock"] == []


def test_what_a_killed_process_left_is_cleared(prepared, raw_folder):
    stale = prepared.parent / f".{LISTOPS}.partial"
    stale.mkdir()
    (stale / "values.npy").write_bytes(b"half")
    assert files.run("prepare", "listops", "--again") == 0
    assert not stale.exists()


def test_of_two_threads_one_prepares(cache_folder):
    (task,) = tasks(["listops"])
    reads = []

    def read():
        reads.append(1)
        time.sleep(0.3)
        return task.synthetic(64, "words", {"train": 10, "validation": 10, "test": 10}, 0)

    threads = [
        threading.Thread(target=cache.store, args=(task, "words", "generated", read, Work(progress=False)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1
    assert cache.verify(cache_folder / "listops-words-generated", 10) == []


def test_two_processes_prepare_at_once(raw_folder, cache_folder):
    files.listops(raw_folder)
    command = [sys.executable, "-m", "ssm_bench", "data", "prepare", "listops"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    assert cache.verify(cache_folder / LISTOPS, 10) == []
    assert sorted(path.name for path in cache_folder.iterdir() if path.suffix != ".lock") == [LISTOPS]
