"""A prepared set that was damaged anywhere is refused in one sentence, or gives the very same data."""

import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.storm_cases.damage import DAMAGES, damage
from ssm_bench.data import cache, integrity, load
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError
from ssm_bench.tasks.listops import ListOps, _corpus
from tests.data import files

LISTOPS = "listops-words-official"
FILES = (*(f"{name}.npy" for name in cache.ARRAYS), "card.json", integrity.STAMP)


def content(dataset):
    """All that a run takes from a data set."""
    arrays = [dataset.values, dataset.offsets, dataset.documents, dataset.labels, *dataset.splits.values()]
    return dataset.card, [(str(array.dtype), array.shape, array.tobytes()) for array in arrays]


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The folder of a set that was opened once, and its content."""
    folder = tmp_path_factory.mktemp("intact")
    files.listops(folder / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSM_BENCH_RAW", str(folder / "raw"))
        patch.setenv("SSM_BENCH_CACHE", str(folder / "cache"))
        loaded = content(load("listops", progress=False))
    return folder / "cache" / LISTOPS, loaded


def opened_or_refused(intact, do):
    """Damages a fresh copy of the set; it must then be refused, or give the same data."""
    original, expected = intact
    folder = cache.root() / LISTOPS
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    assert content(load("listops", progress=False)) == expected
    do(folder)
    try:
        assert content(load("listops", progress=False)) == expected
    except UserError as error:
        assert "\n" not in str(error)
        assert "run: ssm-bench data prepare listops --again" in str(error)
        assert str(folder) in str(error)
        return str(error)
    return ""


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", DAMAGES)
def test_every_kind_of_damage_to_every_file(intact, name, file):
    told = opened_or_refused(intact, lambda folder: damage(folder, name, 0, file))
    if file != integrity.STAMP:
        assert file in told


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["flip", "flip_mapped", "cut", "append"]))
def test_a_flip_anywhere(intact, seed, name):
    opened_or_refused(intact, lambda folder: damage(folder, name, seed))


@pytest.mark.parametrize("file", FILES)
def test_every_byte_of_the_small_files(intact, file):
    # Steps that are coprime with the size of a word, so that all kinds of bytes are met.
    size = (intact[0] / file).stat().st_size
    for place in range(0, size, 7 if size < 1000 else 61):

        def flip(folder, place=place):
            content = bytearray((folder / file).read_bytes())
            content[place] ^= 1 << place % 8
            (folder / file).write_bytes(content)

        told = opened_or_refused(intact, flip)
        assert told or file in ("card.json", integrity.STAMP), (file, place)


def test_a_set_under_the_name_of_another_is_refused(intact):
    folder = cache.root() / "text-characters-official"
    shutil.copytree(intact[0], folder)
    for data in ("auto", "real"):
        with pytest.raises(UserError, match="it holds another set, listops in words.*run: ssm-bench data prepare text"):
            load("text", data=data, progress=False)


def test_a_damaged_set_never_becomes_synthetic(intact, raw_folder, capsys):
    opened_or_refused(intact, lambda folder: damage(folder, "zeros", 0, "labels.npy"))
    for data in ("auto", "real"):
        with pytest.raises(UserError, match=r"labels\.npy is not what was written"):
            load("listops", data=data, progress=False)
    files.listops(raw_folder)
    assert files.run("prepare", "listops", "--again") == 0
    assert content(load("listops", progress=False))[1] == intact[1][1]


def test_a_second_open_reads_no_array(intact, monkeypatch):
    folder = cache.root() / LISTOPS
    shutil.copytree(intact[0], folder)
    load("listops", progress=False)
    # As another process.
    monkeypatch.setattr(integrity, "_verified", set())
    monkeypatch.setattr(integrity, "file_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert content(load("listops", progress=False)) == intact[1]


def test_a_cache_that_cannot_be_written_is_verified_once(intact, monkeypatch, tmp_path):
    folder = cache.root() / LISTOPS
    shutil.copytree(intact[0], folder, ignore=shutil.ignore_patterns(integrity.STAMP))
    reads = []
    digest = integrity.file_sha256
    monkeypatch.setattr(integrity, "file_sha256", lambda path: reads.append(path) or digest(path))
    monkeypatch.setattr(integrity, "_verified", set())
    # A folder under that name cannot be replaced by a stamp.
    (folder / integrity.STAMP).mkdir()
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for _ in range(2):
        assert content(load("listops", progress=False)) == intact[1]
    assert len(reads) == len(cache.ARRAYS)
    # The next process finds the stamp in the user's own folder; without a home, it verifies again.
    monkeypatch.setattr(integrity, "_verified", set())
    load("listops", progress=False)
    assert len(reads) == len(cache.ARRAYS)
    monkeypatch.setattr(integrity, "_verified", set())
    shutil.rmtree(home)
    home.touch()
    load("listops", progress=False)
    assert len(reads) == 2 * len(cache.ARRAYS)


def test_what_changes_within_a_tick_of_the_clock_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    path.write_bytes(b"one")
    proof = {"x.npy": {"bytes": 3, "sha256": integrity.file_sha256(path)}}
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    # On a file system that counts whole seconds, a change within the same second keeps the time.
    for moment in (now, now // 10**9 * 10**9, now - 10 * 10**9):
        os.utime(path, ns=(moment, moment))
        assert integrity.wrong_files(tmp_path, proof, trust_stamp=False) == []
    assert len(slept) == 2


def test_verify_trusts_no_stamp(intact, capsys):
    folder = cache.root() / LISTOPS
    shutil.copytree(intact[0], folder)
    load("listops", progress=False)
    damage(folder, "flip", 1, "values.npy")
    card = cache.read_card(folder)
    wanted = {f"{name}.npy": card["arrays"][name]["file"] for name in cache.ARRAYS}
    stamp = integrity._stamp([folder / name for name in wanted], [entry["sha256"] for entry in wanted.values()])
    (folder / integrity.STAMP).write_text(json.dumps(stamp))
    assert files.run("verify", "listops") == 1
    assert "values.npy is not what was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": np.asarray([0, 10, 1], np.int32)}, r"label lies outside 0\.\.9"),
        ({"labels": np.asarray([0, -1, 1], np.int32)}, r"label lies outside 0\.\.9"),
        ({"labels": np.asarray([0.0, 1.5, 1.0])}, "labels are not"),
        ({"labels": np.asarray(1, np.int32)}, "labels are not"),
        ({"offsets": np.asarray([0, 9, 6, 12])}, "do not fill"),
        ({"offsets": np.asarray([0, 3, 6, 13])}, "do not fill"),
        ({"offsets": np.asarray([0])}, "offsets are not"),
        ({"documents": np.asarray([[0], [1], [3]], np.int32)}, "does not exist"),
        ({"documents": np.asarray([[0], [1], [-1]], np.int32)}, "does not exist"),
        ({"documents": np.asarray([0, 1, 2], np.int32)}, "documents are not"),
        ({"values": np.full(12, 18, np.uint8)}, "outside the vocabulary"),
        ({"values": np.full(12, 1, np.int64)}, "values are not"),
        ({"parts": {"train": 4}}, "parts"),
    ],
)
def test_impossible_data_are_never_stored(cache_folder, change, told):
    corpus = _corpus([b"\x04\x05\x06"] * 3, [0, 1, 2], {"train": 1, "validation": 1, "test": 1}, "x", "rebuilt", "f")
    assert integrity.impossible(corpus, 10, 2048) == []
    with pytest.raises(UserError, match=told):
        cache.store(ListOps(), "words", "rebuilt", lambda: replace(corpus, **change), Work(progress=False))
    assert not list(cache_folder.glob("listops*"))
