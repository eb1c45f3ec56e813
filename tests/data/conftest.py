"""Tests of the data never see the user's own files or cache."""

import pytest


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
