"""Compiled programs in a folder that the user chooses."""

import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ssm_bench.cli import main

NAMES = (
    *("jax_compilation_cache_dir", "jax_persistent_cache_enable_xla_caches"),
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def own_cache(monkeypatch):
    """Restores JAX's cache after a command with another one; every program is kept, however small."""
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
    before = {name: getattr(jax.config, name) for name in NAMES}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_cache_that_was_moved_holds_every_program_of_a_run(tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    sizes = ("--config.model.layers=1", "--config.train.steps=2", "--config.train.evaluations=1")
    command = ["train", "--model", "fnet", "--task", "image", "--preset", "quick", "--data", "synthetic", *sizes]

    def programs(folder):
        return sorted(path.name for path in (tmp_path / folder).glob("*-cache"))

    # What earlier tests compiled is at hand without the folder.
    jax.clear_caches()
    assert main([*command, "--compilation-cache", "first"]) == 0
    assert any("train" in name for name in programs("first")) and any("evaluate" in name for name in programs("first"))
    shutil.copytree("first", "elsewhere/second")
    jax.clear_caches()
    assert main([*command, "--rerun", "--compilation-cache", "elsewhere/second"]) == 0
    # A program that was not found would have been compiled and added under another name.
    assert programs("elsewhere/second") == programs("first")


@pytest.mark.parametrize(
    "command",
    [("train", "--model", "s5", "--task", "text"), ("sweep",), ("bench", "step", "--model", "s5", "--task", "text")],
)
def test_a_cache_that_cannot_be_written_is_refused_in_one_sentence(tmp_path, capsys, command, own_cache):
    (tmp_path / "file").touch()
    assert main([*command, "--compilation-cache", str(tmp_path / "file" / "cache")]) == 2
    error = capsys.readouterr().err
    assert "--compilation-cache takes a folder that can be written; got" in error and error.count("\n") == 1
    assert not (tmp_path / "results").exists()
