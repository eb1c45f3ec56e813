"""What is written for TensorFlow Datasets, and what is read from it, without TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest

from ssm_bench.data import load
from ssm_bench.errors import UserError
from ssm_bench.tasks import image, text
from tests.data import files

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")

OPTIONS = {"file_format": "array_record"}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    tfds.disable_progress_bar()


def sources(name, folder):
    return tfds.data_source(name, data_dir=str(folder), builder_kwargs=OPTIONS)


def stored(dataset, example):
    return [dataset.values[dataset.offsets[d] : dataset.offsets[d + 1]] for d in dataset.documents[example]]


@pytest.mark.parametrize(
    ("task", "write", "name", "fields"),
    [
        ("listops", files.listops, "lra_listops", ["tokens"]),
        ("retrieval", files.aan_tsv, "lra_retrieval/characters", ["first", "second"]),
        ("pathfinder", files.pathfinder, "lra_pathfinder/pathfinder", ["image"]),
    ],
)
def test_a_task_is_written_and_read_back(raw_folder, tmp_path, task, write, name, fields):
    from ssm_bench.data import tfds_builders  # registers the builders

    write(raw_folder)
    tfds_builders.build(task, "characters", tmp_path / "tfds")
    dataset = load(task, data="real", progress=False)
    found = sources(name, tmp_path / "tfds")
    assert set(found) == {"train", "validation", "test"}
    for split, examples in dataset.splits.items():
        assert len(found[split]) == len(examples)
        for record, example in zip(found[split], examples, strict=True):
            for field, document in zip(fields, stored(dataset, example), strict=True):
                assert (np.asarray(record[field]).reshape(-1) == document).all()
            assert record["label"] == dataset.labels[example]
    info = tfds.builder(name, data_dir=str(tmp_path / "tfds"), **OPTIONS).info
    assert info.metadata["checksum"] == dataset.card["checksum"]
    assert info.metadata["identity"] == dataset.card["identity"]


def test_a_variant_is_a_configuration(raw_folder, tmp_path):
    files.pathfinder(raw_folder, 64, difficulty="curv_baseline")
    assert files.run("export", "pathfinder-64-easy", "--data-dir", str(tmp_path)) == 0
    assert sources("lra_pathfinder/pathfinder-64-easy", tmp_path)["test"][0]["image"].shape == (64, 64, 1)


@pytest.mark.parametrize("task", ["text", "lisstops"])
def test_a_task_without_a_builder_is_told(task, tmp_path):
    with pytest.raises(UserError, match="listops"):
        files.run("export", task, "--data-dir", str(tmp_path))


def test_papers_are_stored_as_their_bytes(raw_folder, tmp_path):
    files.aan_tsv(raw_folder)
    assert files.run("export", "retrieval", "--tokens", "bytes", "--data-dir", str(tmp_path)) == 0
    record = sources("lra_retrieval/bytes", tmp_path)["train"][1]
    assert record["first"].dtype == record["second"].dtype == np.uint8
    assert (record["first"].tobytes(), record["second"].tobytes()) == (b'A "parser', b'voice" codec')


def test_slices_and_images(raw_folder, tmp_path):
    files.pathfinder(raw_folder)
    assert files.run("export", "pathfinder", "--data-dir", str(tmp_path)) == 0
    half = tfds.data_source(
        "lra_pathfinder/pathfinder", split="train[:40%]", data_dir=str(tmp_path), builder_kwargs=OPTIONS
    )
    assert len(half) == 10
    assert half[3]["image"].shape == (32, 32, 1)
    assert half[3]["image"].dtype == np.uint8


def test_neither_writing_nor_reading_imports_tensorflow(raw_folder, tmp_path):
    files.listops(raw_folder)
    code = (
        "import sys; from pathlib import Path; from ssm_bench.data.tfds_builders import build\n"
        f"print(build('listops', 'words', Path({str(tmp_path)!r})))\n"
        f"import tensorflow_datasets as tfds; options = {OPTIONS}\n"
        f"tfds.data_source('lra_listops', split='train', data_dir={str(tmp_path)!r}, builder_kwargs=options)[0]\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lra_listops/listops" in done.stdout


def write_toy(name, folder, features, splits, version="1.0.0", config="", **options):
    """A set of another's builder, prepared by TFDS itself."""
    with tfds.core.registered.skip_registration():
        configs = [tfds.core.BuilderConfig(name=config)] if config else []

        class Toy(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version(version)
            BUILDER_CONFIGS = configs

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager):
                return {split: iter(examples) for split, examples in splits.items()}

            def _generate_examples(self):
                return iter(())

    Toy.name = name
    Toy(data_dir=folder, **options).download_and_prepare()


def write_reviews(folder, **options):
    features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
    splits = {
        part: [(i, {"text": text.strip(), "label": label}) for p, label, i, text in numbered if p == part]
        for part in files.REVIEWS
        for numbered in [[(p, y, i, t) for i, (p, y, _, t) in enumerate(files.reviews())]]
    }
    write_toy("imdb_reviews", folder, features, splits, config="plain_text", **options)


def test_reviews_that_tfds_has_prepared(raw_folder, monkeypatch):
    monkeypatch.setattr(text, "REVIEWS", files.REVIEWS)
    write_reviews(raw_folder, **OPTIONS)
    dataset = load("text", data="real", tokens="bytes", progress=False)
    assert dataset.card["identity"] == "IMDb (TFDS imdb_reviews, white space stripped)"
    assert dataset.card["kind"] == "rebuilt"
    expected = sorted((words.strip(), label) for _, label, _, words in files.reviews())
    assert sorted((dataset.decode(i), int(dataset.labels[i])) for i in range(12)) == expected
    assert dataset.card["parts"] == files.REVIEWS


@pytest.mark.usefixtures("small_sets")
def test_images_that_tfds_has_prepared_are_the_official_ones(raw_folder, tmp_path, monkeypatch):
    files.cifar_python_folder(raw_folder)
    official = load("image", data="real", progress=False).card["checksum"]
    batches = files.cifar_batches()
    splits = {}
    for part, names in image._BATCHES.items():
        rows = [(row, y) for name in names for row, y in zip(*batches[name], strict=True)]
        splits[part] = [
            (i, {"id": f"{part}_{i:05d}", "image": row.reshape(3, 32, 32).transpose(1, 2, 0), "label": label})
            for i, (row, label) in enumerate(rows)
        ]
    features = {
        "id": tfds.features.Text(),
        # TFDS itself has an Image here, which reads the same but is written with TensorFlow.
        "image": tfds.features.Tensor(shape=(32, 32, 3), dtype=np.uint8),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    write_toy("cifar10", tmp_path / "tfds", features, splits, version="3.0.2", **OPTIONS)
    monkeypatch.setenv("SSM_BENCH_RAW", str(tmp_path / "tfds"))
    monkeypatch.setenv("SSM_BENCH_CACHE", str(tmp_path / "other"))
    card = load("image", data="real", progress=False).card
    assert (card["checksum"], card["identity"]) == (official, "CIFAR-10 gray")


def test_files_of_another_format_are_told(raw_folder):
    folder = raw_folder / "imdb_reviews" / "plain_text" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    with pytest.raises(UserError, match=r"imdb_reviews.*array_record"):
        load("text", progress=False)
