"""The Python API: a model is trained, called, saved, loaded and compared without a command line."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ssm_bench
from ssm_bench.cli import main
from ssm_bench.mixers.lru import LRU
from ssm_bench.network.build import split

SMALL = {"model": {"d_model": 8, "layers": 1}, "train": {"steps": 4, "evaluations": 2, "chunk": 2}}


class Mine(LRU):
    """A mixer of this test, defined where no name leads to it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


def train(folder, model="lru", **options):
    options = {"preset": "quick", "data": "synthetic", **SMALL, **options}
    return ssm_bench.train(model, "listops", results=folder / "results", checkpoints=folder / "checkpoints", **options)


@pytest.fixture(scope="module")
def run(folder):
    return train(folder)


@pytest.fixture(scope="module")
def batch():
    tokens, lengths = ssm_bench.datasets.load("listops", data="synthetic", max_length=64).padded()
    return tokens[:5], lengths[:5]


def test_importing_the_package_loads_nothing_heavy():
    script = "import sys, ssm_bench; dir(ssm_bench); print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ssm_bench.nothing


def test_a_run_is_its_record_its_curve_and_its_model(run, folder, batch):
    assert run.record.status == "ok" and run.path.is_file()
    assert [point.step for point in run.curve] == [2, 4] and 0 <= run.test_accuracy <= 1
    logits = run.model(*batch)
    assert logits.shape == (5, 10) and np.isfinite(logits).all()
    # Padding reaches nothing, and the module is the same function.
    shorter = [batch[0][:, : batch[1].max()], batch[1]]
    np.testing.assert_allclose(run.model(*shorter), logits, atol=2e-5)
    np.testing.assert_allclose(run.model.module(batch[0][:, None], jnp.asarray(batch[1])[:, None]), logits, atol=2e-5)
    # The same call again is the same run.
    again = train(folder)
    assert again.record == run.record


def test_a_model_is_saved_and_loaded_bit_for_bit(run, folder, batch):
    saved = run.model.save(folder / "saved")
    assert {path.name for path in saved.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    loaded = ssm_bench.load(saved)
    assert loaded.record == run.record and loaded.config == run.record.config
    assert jax.tree.structure(loaded.params) == jax.tree.structure(run.model.params)
    jax.tree.map(np.testing.assert_array_equal, loaded.params, run.model.params)
    np.testing.assert_array_equal(loaded(*batch), run.model(*batch))
    np.testing.assert_array_equal(ssm_bench.load(run.path)(*batch), run.model(*batch))
    assert "LRU on ListOps" in (saved / "README.md").read_text()
    # Writing it again replaces it; anything else in its place is kept.
    run.model.save(saved)
    (folder / "other").mkdir()
    (folder / "other" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not an exported model: choose another folder"):
        run.model.save(folder / "other")


def test_the_command_line_exports_and_keeps_models(run, folder, batch, capsys):
    out = str(folder / "exported")
    assert main(["export", str(run.path), "--out", out]) == 0, capsys.readouterr().err
    np.testing.assert_array_equal(ssm_bench.load(out)(*batch), run.model(*batch))
    settings = [f"--config.{section}.{name}={value}" for section in SMALL for name, value in SMALL[section].items()]
    command = ["train", "--model", "lru", "--task", "listops", "--preset", "quick", "--data", "synthetic"]
    command += ["--results", str(folder / "results"), "--checkpoints", str(folder / "checkpoints"), "--keep-model"]
    assert main([*command, *settings]) == 0
    shown = capsys.readouterr().out
    assert "finished before" in shown and "wrote " in shown
    (kept,) = (folder / "results" / "models" / "quick" / "listops" / "lru").iterdir()
    np.testing.assert_array_equal(ssm_bench.load(kept)(*batch), run.model(*batch))


def test_a_model_of_an_earlier_version_is_loaded(run, tmp_path, batch):
    """Settings that were added since have the values at which the model is what it was."""
    saved = run.model.save(tmp_path / "saved")
    known = json.loads((saved / "config.json").read_text())
    for config in (known["config"], known["record"]["config"]):
        del config["model"]["window"], config["train"]["norm_batches"]
    (saved / "config.json").write_text(json.dumps(known))
    np.testing.assert_array_equal(ssm_bench.load(saved)(*batch), run.model(*batch))


@pytest.mark.parametrize("damage", ["no folder", "cut", "no json", "no field", "shape", "format"])
def test_a_folder_that_is_no_model_is_refused(run, tmp_path, damage):
    saved = run.model.save(tmp_path / "saved")
    arrays, settings = saved / "model.safetensors", saved / "config.json"
    known = json.loads(settings.read_text())
    if damage == "no folder":
        saved = tmp_path / "nothing"
        saved.mkdir()
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:100])
    elif damage == "no json":
        settings.write_text("{")
    elif damage == "no field":
        settings.write_text(json.dumps({"format": 1, "config": known["config"]}))
    elif damage == "shape":
        known["config"]["model"]["d_model"] = 16
        settings.write_text(json.dumps(known))
    else:
        settings.write_text(json.dumps(known | {"format": 99}))
    with pytest.raises(ValueError, match=r"holds no exported model|requires|reads 1|field config"):
        ssm_bench.load(saved)


def test_a_class_is_trained_and_stands_in_a_table_next_to_ours(run, folder):
    found = ssm_bench.benchmark(
        Mine,
        tasks="listops",
        compare_with=["lru"],
        data="synthetic",
        results=folder / "results",
        checkpoints=folder / "checkpoints",
        **SMALL,
    )
    assert [one.record.model.title for one in found.runs] == ["Mine", "LRU"]
    assert found.runs[1].record == run.record
    assert "Mine" in str(found) and "LRU" in str(found)
    module = found.runs[0].model.module
    assert isinstance(module.blocks[0].mixer, Mine) and isinstance(module, nnx.Module)
    assert split(module).state_size == found.runs[0].record.model.state_size


@pytest.mark.parametrize(
    ("arguments", "options", "error", "sentence"),
    [
        (("s55", "listops"), {}, ValueError, "unknown model 's55'"),
        (("s5", "listop"), {}, ValueError, "unknown task 'listop'"),
        ((int, "listops"), {}, TypeError, "derived from ssm_bench.network.mixer.Mixer"),
        (("s5", "listops"), {"model": 8}, TypeError, "model must be a section of settings"),
        (("s5", "listops"), {"d_model": 8}, TypeError, "unknown argument or section of settings 'd_model'"),
        (("s5", "listops"), {"dta": "real"}, TypeError, r"'dta' \(did you mean data"),
        (("s5", "listops"), {"model": {"d_modell": 8}}, ValueError, "d_model"),
        (("s5", "listops"), {"preset": "fast"}, ValueError, "unknown .*preset 'fast'"),
        (("s5", "listops"), {"share": 2.0, "preset": "budget"}, ValueError, "share"),
    ],
)
def test_mistakes_are_errors_that_name_the_argument(arguments, options, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence):
        ssm_bench.train(*arguments, results=tmp_path, checkpoints=tmp_path, **{"data": "synthetic"} | options)


@pytest.mark.parametrize("inputs", [np.zeros((2, 5)), np.zeros(5, int), np.zeros((2, 3, 5, 1), int)])
def test_a_model_says_which_inputs_it_takes(run, inputs):
    with pytest.raises(ValueError, match="inputs must be integers"):
        run.model(inputs)
