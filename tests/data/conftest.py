"""Tests of the data never see the user's own files or cache."""

import pytest

from ssm_bench.tasks import image, text
from tests.data import files


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """An empty cache, and no folder of raw files."""
    monkeypatch.setenv("SSM_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SSM_BENCH_RAW", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def raw_folder(tmp_path, monkeypatch):
    """An empty folder that SSM_BENCH_RAW names."""
    folder = tmp_path / "raw"
    folder.mkdir()
    monkeypatch.setenv("SSM_BENCH_RAW", str(folder))
    return folder


@pytest.fixture
def small_sets(monkeypatch):
    """The published sets of Text and Image are the tiny ones of `files`."""
    monkeypatch.setattr(text, "REVIEWS", files.REVIEWS)
    monkeypatch.setattr(
        text,
        "TEXT_BYTES",
        {
            part: sum(len(review[3].encode()) for review in files.reviews() if review[0] == part)
            for part in files.REVIEWS
        },
    )
    monkeypatch.setattr(text, "MIN_FREQUENCY", 3)
    monkeypatch.setattr(image, "IMAGES", files.IMAGES)
    sums, digest = files.cifar_marks()
    monkeypatch.setattr(image, "COLOR_SUMS", sums)
    monkeypatch.setattr(image, "LABELS_SHA256", digest)
