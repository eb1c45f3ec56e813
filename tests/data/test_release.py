"""The release of the Long Range Arena: every folder it has, and the splits of S4, S5 and LRA itself."""

import hashlib

import numpy as np
import pytest

from ssm_bench.data import cache, load
from ssm_bench.data.dataset import find
from ssm_bench.data.splits import tfds_order
from ssm_bench.tasks import _release, image
from tests.data import files

FOLDERS = {
    "pathfinder": (32, "curv_contour_length_14"),
    "pathx": (128, "curv_contour_length_14"),
    **{
        f"pathfinder-{side}-{difficulty}": (side, folder)
        for side in (32, 64, 128, 256)
        for difficulty, folder in _release.FOLDERS.items()
        if (side, difficulty) not in ((32, "hard"), (128, "hard"))
    },
}


@pytest.fixture
def release(raw_folder):
    """Where the archive unpacks to."""
    return raw_folder / "lra_release" / "lra_release"


@pytest.mark.parametrize("task", [name for name in FOLDERS if "256" not in name] + ["pathx-256-hard"])
def test_every_folder_is_read(release, task):
    side, folder = FOLDERS.get(task, (256, "curv_contour_length_14"))
    _, images = files.pathfinder(release, side, difficulty=folder)
    dataset = load(task, progress=False)
    assert dataset.card["source"] == f"pathfinder{side}/{folder}"
    assert (dataset.padded()[0].reshape(-1, side, side) == np.stack([images[key] for key in sorted(images)])).all()
    assert dataset.labels.tolist() == [sum(key) % 2 for key in sorted(images)]
    assert dataset.card["notes"] == {"empty_files": 1, "release": {"batches": [[9, 15], [10, 15]], "empty": [3]}}


def test_nothing_but_the_set_is_left(release, cache_folder):
    files.pathfinder(release)
    load("pathfinder", progress=False)
    assert [path.name for path in cache_folder.iterdir() if path.suffix != ".lock"] == ["pathfinder-pixels-official"]


def test_the_splits_of_lra(release):
    files.pathfinder(release)
    dataset = load("pathfinder", protocol="lra", progress=False)

    # As LRA's builder and pipeline have it, row by row.
    keys = [f"imgs/{batch}_sample_{row}.png_{row + 1}" for batch in (9, 10) for row in range(15)]
    stored = sorted(keys, key=lambda key: hashlib.md5(("hard" + key).encode()).hexdigest())
    present = [key for key in keys if key != "imgs/9_sample_3.png_4"]
    for name, part in (("train", stored[:24]), ("validation", stored[24:27]), ("test", stored[27:])):
        assert dataset.splits[name].tolist() == sorted(present.index(key) for key in part if key in present)
    strict = load("pathfinder", progress=False)
    assert strict.card["checksum"] == dataset.card["checksum"]
    assert strict.splits["train"].tolist() != dataset.splits["train"].tolist()


def test_files_of_other_names_have_no_split_of_lra(release):
    base, _ = files.pathfinder(release)
    table = base / "metadata" / "10.npy"
    table.write_text("".join(reversed(table.read_text().splitlines(keepends=True))))
    strict, lra = (load("pathfinder", protocol=protocol, progress=False) for protocol in ("strict", "lra"))
    assert strict.card["notes"]["release"] is None
    assert lra.splits["test"].tolist() == strict.splits["test"].tolist()


def test_the_order_of_tensorflow_datasets():
    # The first images of cifar10 3.0.2 as its users see them: train_16399, train_01680, train_47917, ...
    assert tfds_order(range(50_000), "train")[:5].tolist() == [16399, 1680, 47917, 17307, 27051]


def test_images_are_split_as_lra_did(raw_folder, monkeypatch):
    monkeypatch.setattr(image, "IMAGES", files.IMAGES)
    files.cifar_python_folder(raw_folder)
    dataset = load("image", protocol="lra", progress=False)
    order = tfds_order(range(20), "train").tolist()
    assert dataset.splits["train"].tolist() == sorted(order[:18])
    assert dataset.splits["validation"].tolist() == sorted(order[18:])
    assert dataset.splits["test"].tolist() == list(range(20, 30))


def test_the_cuts_are_those_of_the_release():
    notes = {"release": {"batches": [[batch, 1000] for batch in range(200)], "empty": []}}
    found = _release.lra_splits(notes, "hard")
    assert {name: len(part) for name, part in found.items()} == {"train": 160_000, "validation": 20_000, "test": 20_000}
    assert len(np.unique(np.concatenate(list(found.values())))) == 200_000


def test_a_generated_set_is_split_as_elsewhere():
    task = find("pathfinder-64-easy")
    assert _release.lra_splits({"tables": "x"}, "easy") is None
    assert cache.scratch_of(cache.cache_path(task, "pixels", "official")).name.startswith(".pathfinder-64-easy")
