"""Compiled programs in a folder that the user chooses."""

import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ssm_bench.cli import main
from ssm_bench.cli._options import prepare_jax
from ssm_bench.sweep import cells
from ssm_bench.sweep.cells import Cell, Choices, Runner
from ssm_bench.sweep.progress import Progress
from ssm_bench.training.stop import Stop

NAMES = (
    *("jax_compilation_cache_dir", "jax_persistent_cache_enable_xla_caches"),
    "jax_persistent_cache_min_compile_time_secs",
)


#: Sizes of a run that compiles and trains fast.
SIZES = (
    *("--config.model.layers=1", "--config.model.d_model=8", "--config.task.max_length=64"),
    *("--config.task.examples=100", "--config.train.steps=2", "--config.train.evaluations=1"),
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
    command = ["train", "--model", "fnet", "--task", "image", "--preset", "quick", "--data", "synthetic", *SIZES]

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


def test_a_cell_that_was_compiled_ahead_finds_its_programs(tmp_path, monkeypatch, own_cache):
    monkeypatch.chdir(tmp_path)
    choices = Choices(preset="quick", data="synthetic", overrides=SIZES)
    runner = Runner(choices=choices, results=tmp_path / "results", checkpoints=tmp_path / "checkpoints")
    cell = Cell(model="fnet", task="image", seed=0)

    def large():
        return sorted(path.name for path in (tmp_path / "cache").glob("*-cache") if "train" in path.name)

    prepare_jax("quick", cache=tmp_path / "cache")
    jax.clear_caches()
    with Stop() as stop:
        runner.compile(cell, stop)
        compiled = large()
        assert compiled and not (tmp_path / "results" / "runs").exists() and not (tmp_path / "checkpoints").exists()
        jax.clear_caches()
        assert runner.run(cell, stop, Progress("")) == "ok" and large() == compiled
        # Nothing is compiled for a cell that is finished: its data are opened and its record is read.
        monkeypatch.setattr(cells, "make_trainer", None)
        runner.compile(cell, stop)
