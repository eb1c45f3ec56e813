"""A set that is prepared again is replaced at once: readers see the old one or the new one, whatever is killed when."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from ssm_bench.data import cache, load
from ssm_bench.data.work import Work
from ssm_bench.tasks.listops import ListOps, _corpus
from tests.data import files

BASE = "listops-words-official"
SILENT = Work(1, progress=False)
REPLACEMENTS = 30


def corpus(version):
    """Sets that differ in every array."""
    count = 10 + version % 7
    rows = [bytes([4 + version % 10] * (3 + i)) for i in range(count)]
    counts = {"train": count - 2, "validation": 1, "test": 1}
    return _corpus(rows, [version % 10] * count, counts, f"version {version}", "official", "test")


def put(version):
    """Prepares a version of the set again."""
    return cache.store(ListOps(), "words", "official", lambda: corpus(version), SILENT, again=True)


def is_consistent(dataset):
    """Whether all arrays and the card are those of one version."""
    version = int(dataset.card["identity"].removeprefix("version "))
    expected = corpus(version)
    return all(np.array_equal(getattr(dataset, name), getattr(expected, name)) for name in cache.ARRAYS)


# Opens the set again and again, under the very flag that falls back to synthetic data.
READER = """
import pathlib, sys
from ssm_bench.data import load
stop, count = pathlib.Path(sys.argv[1]), 0
while not stop.exists():
    found = load("listops", data="auto", progress=False)
    version = int(found.card["identity"].removeprefix("version "))
    assert found.labels.tolist() == [version % 10] * (10 + version % 7), version
    assert found.documents.ravel().tolist() == list(range(10 + version % 7)), version
    assert found.offsets.tolist()[:4] == [0, 4, 9, 15] and set(found.values.tolist()) == {2, 4 + version % 10}, version
    count += 1
    print(count, flush=True)
"""


def test_readers_in_threads_and_processes_never_see_two_sets(cache_folder, tmp_path):
    put(0)
    stop = tmp_path / "stop"
    process = subprocess.Popen([sys.executable, "-c", READER, str(stop)], stdout=subprocess.PIPE, text=True)
    seen = [[], []]

    def read(of_thread):
        while not stop.exists():
            of_thread.append(is_consistent(load("listops", data="auto", progress=False)))

    threads = [threading.Thread(target=read, args=(of_thread,)) for of_thread in seen]
    for thread in threads:
        thread.start()
    try:
        # Replacing begins when the process, which starts slowly, has read once.
        assert process.stdout.readline() == "1\n"
        for version in range(1, REPLACEMENTS + 1):
            put(version)
    finally:
        stop.touch()
    for thread in threads:
        thread.join()
    printed, _ = process.communicate()
    assert printed and process.returncode == 0
    assert all(map(all, seen))
    assert all(map(len, seen))
    assert newest_only(cache_folder) == [f"{BASE}.{REPLACEMENTS + 1}"]


def newest_only(folder):
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_an_open_set_outlasts_its_replacement(cache_folder):
    put(1)
    dataset = load("listops", progress=False)
    put(2)
    assert is_consistent(dataset)
    assert dataset.card["identity"] == "version 1"
    # A folder that was named before leads to the present one.
    assert cache.open_corpus(cache_folder / BASE, 10)[1]["identity"] == "version 2"


def dies(module, name, call):
    """In a child process: replaces the set, and is killed at a call of a function."""
    child = os.fork()
    if child == 0:
        try:
            left = [call]
            function = getattr(module, name)

            def killed(*arguments, **options):
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
                return function(*arguments, **options)

            setattr(module, name, killed)
            put(2)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# The child calls no JAX and starts no thread: it writes files, and ends.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:This process:DeprecationWarning")
@pytest.mark.parametrize(
    ("module", "name", "call", "after"),
    [
        (np, "save", 1, 1),
        (np, "save", 4, 1),
        (Path, "write_text", 1, 1),
        (Path, "rename", 1, 1),
        # The new folder has its name, and the old one is not removed yet.
        (shutil, "rmtree", 3, 2),
        (shutil, "rmtree", 4, 2),
        (shutil, "rmtree", 5, 2),
        (shutil, "rmtree", 6, 2),
    ],
)
def test_a_killed_preparation_leaves_a_set_and_the_next_one_cleans_up(cache_folder, module, name, call, after):
    put(1)
    assert dies(module, name, call) == 9
    dataset = load("listops", data="auto", progress=False)
    assert dataset.card["identity"] == f"version {after}"
    assert is_consistent(dataset)
    # Opening is enough to remove what was left; so is preparing.
    assert len([path for path in cache_folder.iterdir() if path.suffix != ".lock"]) == 1
    put(3)
    assert is_consistent(load("listops", progress=False))
    assert len([path for path in cache_folder.iterdir() if path.suffix != ".lock"]) == 1


def test_what_a_living_preparation_writes_stays(cache_folder):
    put(1)
    partial = cache_folder / f".{BASE}.partial"
    partial.mkdir()
    with FileLock(cache_folder / f".{BASE}.lock"):
        load("listops", progress=False)
        assert partial.is_dir()
    load("listops", progress=False)
    assert not partial.exists()


def test_a_failed_replacement_keeps_the_set(cache_folder, monkeypatch):
    put(1)
    monkeypatch.setattr(np, "save", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Exception, match="No space left"):
        put(2)
    assert load("listops", progress=False).card["identity"] == "version 1"
    assert [path.name for path in cache_folder.iterdir() if path.suffix != ".lock"] == [BASE]


def test_sets_of_an_earlier_version_are_prepared_again(cache_folder, raw_folder, capfd):
    files.listops(raw_folder)
    expected = load("listops", progress=False).card
    card = cache_folder / BASE / "card.json"
    card.write_text(card.read_text("utf-8").replace(f'"format": {cache.FORMAT}', '"format": 1'), "utf-8")
    assert load("listops", data="auto").card == expected
    assert "earlier version" in capfd.readouterr().err


def test_an_earlier_version_without_its_source_is_an_error(cache_folder, raw_folder):
    files.listops(raw_folder)
    load("listops", progress=False)
    card = cache_folder / BASE / "card.json"
    card.write_text(card.read_text("utf-8").replace(f'"format": {cache.FORMAT}', '"format": 1'), "utf-8")
    for path in raw_folder.iterdir():
        path.unlink()
    for data in ("auto", "real"):
        with pytest.raises(Exception, match="an earlier version wrote it"):
            load("listops", data=data, progress=False)
