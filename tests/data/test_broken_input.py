"""A truncated, corrupt or wrong file gives one sentence that names it, and leaves nothing behind."""

import lzma

import numpy as np
import pytest

from ssm_bench.data import load
from ssm_bench.errors import UserError
from tests.data import files

pytestmark = pytest.mark.usefixtures("small_sets")


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def overwrite(path):
    path.write_bytes(b"something else entirely")


@pytest.mark.parametrize("damage", [cut_short, overwrite])
@pytest.mark.parametrize("name", files.FORMS)
def test_one_sentence_and_nothing_left(raw_folder, cache_folder, name, damage):
    task, write = files.FORMS[name]
    write(raw_folder)
    damage(raw_folder / name)
    with pytest.raises(UserError) as told:
        load(task, data="auto", progress=False)
    assert name.rsplit("/", 1)[-1] in str(told.value)
    assert "\n" not in str(told.value)
    assert [path for path in cache_folder.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("( ( [MAX 3 ) ] )", 11)], "line 2.*'11'"),
        ([("( ( [SUM 3 ) ] )", 1)], r"line 2.*'\[SUM'"),
        ([("", 1)], "line 2"),
        ([], "no expression"),
    ],
)
def test_a_wrong_listops_row_is_named(raw_folder, rows, told):
    files.listops(raw_folder, rows)
    with pytest.raises(UserError, match=told):
        load("listops", progress=False)


@pytest.mark.parametrize(
    ("row", "told"),
    [(("1.0", "a", "b", "text"), "line 1.*4 columns"), (("2", "a", "b", "text", "text"), "line 1.*'2'")],
)
def test_a_wrong_pair_is_named(raw_folder, row, told):
    files.aan_tsv(raw_folder, [row])
    with pytest.raises(UserError, match=told):
        load("retrieval", progress=False)


def test_missing_reviews_are_counted(raw_folder):
    files.imdb_folder(raw_folder)
    next((raw_folder / "aclImdb" / "train" / "pos").iterdir()).unlink()
    with pytest.raises(UserError, match="7 training and 4 test"):
        load("text", progress=False)


def test_a_paper_that_does_not_exist_is_named(raw_folder):
    files.aan_rebuilt(raw_folder)
    pairs = np.asarray([[1, 0, 9]], np.int32)
    np.savez(raw_folder / "aan_pairs.npz", train=pairs, eval=pairs, test=pairs)
    with pytest.raises(UserError, match="paper 9"):
        load("retrieval", progress=False)


def test_missing_and_wrong_images_are_named(raw_folder):
    base, _ = files.pathfinder(raw_folder)
    (base / "imgs" / "10" / "sample_2.png").unlink()
    with pytest.raises(UserError, match=r"10/sample_2\.png"):
        load("pathfinder", progress=False)


def test_a_wrong_label_in_a_compact_file_is_told(raw_folder):
    with lzma.open(raw_folder / "imdb.jsonl.xz", "wt") as file:
        file.write('{"split": "train", "label": 7, "id": 1, "text": "x"}\n')
    with pytest.raises(UserError, match="7"):
        load("text", progress=False)


def test_a_raw_folder_that_does_not_exist_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("SSM_BENCH_RAW", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="nowhere"):
        load("listops", progress=False)
