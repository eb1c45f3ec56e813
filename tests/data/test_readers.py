"""Each format of the real data is read right, prepared once, and opened from the cache."""

import functools
import hashlib
import http.server
import threading

import numpy as np
import pytest
from PIL import Image as Pillow

from ssm_bench.data import load
from ssm_bench.errors import UserError
from ssm_bench.tasks import text
from tests.data import files

pytestmark = pytest.mark.usefixtures("small_sets")


def load_real(task, **options):
    return load(task, data="real", progress=False, **options)


def examples_of(dataset):
    """Documents (as arrays) and label of each example."""
    pieces = [dataset.values[a:b] for a, b in zip(dataset.offsets[:-1], dataset.offsets[1:], strict=True)]
    return [([pieces[i] for i in row], label) for row, label in zip(dataset.documents, dataset.labels, strict=True)]


@pytest.mark.parametrize("folder", [".", "listops-1000", "lra_release/lra_release/listops-1000"])
def test_listops_files_of_the_release(raw_folder, folder):
    files.listops(raw_folder / folder)
    dataset = load_real("listops")
    assert {name: len(s) for name, s in dataset.splits.items()} == {"train": 3, "validation": 3, "test": 3}
    assert dataset.decode(1) == "[MAX 3 [MIN 9 4 ] ]"
    assert dataset.labels[:3].tolist() == [2, 4, 5]
    assert dataset.vocab_size == 18
    assert (dataset.values[dataset.offsets[1:] - 1] == 2).all()
    assert load("listops", progress=False).card == dataset.card


def test_text_is_the_same_from_every_source(raw_folder, tmp_path, monkeypatch):
    sums = {}
    for write in (files.imdb_folder, files.imdb_archive, files.imdb_lines):
        folder = tmp_path / write.__name__
        folder.mkdir()
        write(folder)
        monkeypatch.setenv("SSM_BENCH_RAW", str(folder))
        monkeypatch.setenv("SSM_BENCH_CACHE", str(folder / "cache"))
        card = load_real("text").card
        assert card["identity"] == "IMDb (aclImdb v1)"
        assert card["kind"] == "official"
        sums[write.__name__] = card["checksum"]
    assert len(set(sums.values())) == 1


def test_text_characters(raw_folder):
    files.imdb_lines(raw_folder)
    dataset = load_real("text", protocol="paper")
    expected = files.reviews()
    assert [int(label) for label in dataset.labels] == [label for _, label, _, _ in expected]
    training = "".join(words for part, _, _, words in expected if part == "train")
    frequent = {c for c in training if training.count(c) >= 3}
    assert set(dataset.vocabulary[3:]) == frequent
    counts = [training.count(c) for c in dataset.vocabulary[3:]]
    assert counts == sorted(counts, reverse=True)
    for ([ids], _), (_, _, _, words) in zip(examples_of(dataset), expected, strict=True):
        assert ids[-1] == 2
        assert "".join(dataset.vocabulary[i] for i in ids[:-1]) == "".join(
            c if c in frequent else "<unk>" for c in words
        )


def test_text_bytes(raw_folder):
    files.imdb_folder(raw_folder)
    dataset = load_real("text", tokens="bytes")
    assert dataset.vocab_size == 257
    assert dataset.values.dtype == np.uint16
    for i, (_, _, _, words) in enumerate(files.reviews()):
        assert dataset.decode(i) == words
        assert dataset.values[dataset.offsets[i]] == words.encode()[0] + 1


def test_text_protocols(raw_folder, monkeypatch):
    monkeypatch.setattr(text, "VALIDATION_SHARE", 0.25)
    files.imdb_lines(raw_folder)
    strict, paper = (load_real("text", protocol=protocol) for protocol in ("strict", "paper"))
    assert strict.card["checksum"] == paper.card["checksum"]
    assert len(strict.splits["validation"]) == 2
    assert sorted([*strict.splits["train"], *strict.splits["validation"]]) == list(range(8))
    assert paper.splits["train"].tolist() == list(range(8))
    assert paper.splits["validation"].tolist() == paper.splits["test"].tolist() == [8, 9, 10, 11]


def test_an_altered_review_is_told_by_the_identity(raw_folder, monkeypatch):
    monkeypatch.setattr(text, "TEXT_BYTES", {"train": 1, "test": 1})
    files.imdb_lines(raw_folder)
    assert load_real("text").card["identity"] == "IMDb (altered copy of aclImdb v1)"


@pytest.mark.parametrize(
    "write",
    [files.cifar_python_folder, files.cifar_python_archive, files.cifar_binary_folder, files.cifar_binary_archive],
)
def test_image_from_the_official_files(raw_folder, write):
    write(raw_folder)
    dataset = load_real("image")
    assert dataset.card["identity"] == "CIFAR-10 gray"
    tokens, _ = dataset.padded()
    colors = np.concatenate([batch[0] for batch in files.cifar_batches().values()]).reshape(-1, 3, 32, 32)
    for pixels, rgb in zip(tokens, colors, strict=True):
        assert (pixels.reshape(32, 32) == np.asarray(Pillow.fromarray(rgb.transpose(1, 2, 0)).convert("L"))).all()
    assert dataset.labels.tolist() == [label for batch in files.cifar_batches().values() for label in batch[1]]
    assert {name: len(s) for name, s in dataset.splits.items()} == {"train": 18, "validation": 2, "test": 10}
    # As published code has them.
    assert (dataset.pixel_mean, dataset.pixel_std) == (122.6, 61.0)


def test_image_from_the_compact_file(raw_folder):
    arrays = files.cifar_gray(raw_folder)
    dataset = load_real("image")
    assert dataset.card["identity"] == "CIFAR-10 gray (rebuilt, 1 JPEG stand-ins)"
    assert (dataset.padded()[0][:20] == arrays["x_train"].reshape(20, 1024)).all()
    files.cifar_python_folder(raw_folder)
    assert load_real("image").card["kind"] == "official", "official files come before a rebuilt cache"


def test_a_pickle_that_could_run_code_is_refused(raw_folder):
    files.cifar_python_folder(raw_folder)
    (raw_folder / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"data_batch_1.*no array"):
        load_real("image")


def test_retrieval_files_of_the_release(raw_folder):
    files.aan_tsv(raw_folder / "lra_release" / "tsv_data")
    dataset = load_real("retrieval")
    assert len(dataset.offsets) - 1 == 3, "each text is stored once"
    assert dataset.decode(1) == 'A "parser\n--- second document ---\nvoice" codec'
    assert dataset.labels.tolist() == [1, 0] * 3


def test_retrieval_from_the_rebuilt_files(raw_folder):
    texts = files.aan_rebuilt(raw_folder)
    dataset = load_real("retrieval")
    assert dataset.card["identity"] == "AAN (rebuilt pairs)"
    assert dataset.card["documents"] == 3, "a paper in no pair is left out"
    first, second = examples_of(dataset)[0][0]
    assert "".join(dataset.vocabulary[i] for i in first[:-1]) == texts[0]
    assert len(second) == 4000
    assert second[-1] == 2
    (test_paper, _), _ = examples_of(dataset)[int(dataset.splits["test"][0])]
    assert dataset.vocabulary[test_paper[-2]] == "<unk>", "a character that no training text has"
    for (a, b), _ in examples_of(load_real("retrieval", tokens="bytes")):
        assert max(len(a), len(b)) == 4000


@pytest.mark.parametrize("as_text", [True, False])
def test_pathfinder_folder_of_the_release(raw_folder, as_text):
    _, images = files.pathfinder(raw_folder, as_text=as_text)
    dataset = load_real("pathfinder")
    assert dataset.card["notes"]["empty_files"] == 1
    order = sorted(images)
    assert (dataset.padded()[0].reshape(-1, 32, 32) == np.stack([images[key] for key in order])).all()
    assert dataset.labels.tolist() == [(batch + i) % 2 for batch, i in order]
    assert {name: len(s) for name, s in dataset.splits.items()} == {"train": 25, "validation": 2, "test": 2}
    assert len(set(np.concatenate(list(dataset.splits.values())).tolist())) == 29
    assert (dataset.pixel_mean, dataset.pixel_std) == (127.5, 127.5)


def test_pathx_is_the_same_at_128_pixels(raw_folder):
    files.pathfinder(raw_folder, resolution=128)
    assert load_real("pathx").padded()[0].shape == (29, 16384)


def test_without_files_the_error_says_what_to_fetch():
    with pytest.raises(UserError, match=r"lra_release\.gz.*SSM_BENCH_RAW"):
        load_real("retrieval")
    assert load("retrieval", progress=False).card["kind"] == "synthetic"


def test_a_cut_document_ends_in_the_end_token(raw_folder):
    files.imdb_lines(raw_folder)
    whole, cut = load_real("text"), load_real("text", max_length=40)
    assert cut.card["cut"]["max_length"] == 40
    assert cut.card["cut"]["documents"] > 0
    assert cut.card["checksum"] == whole.card["checksum"]
    for ([long], _), ([short], _) in zip(examples_of(whole), examples_of(cut), strict=True):
        assert len(short) == min(len(long), 40)
        assert short[-1] == 2
        assert (short[:-1] == long[: len(short) - 1]).all()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """An HTTP server of the folder `served`."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(_Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{found.server_port}/"
        found.shutdown()


@pytest.mark.parametrize("intact", [True, False])
def test_the_download_goes_through_tensorflow_datasets(server, monkeypatch, cache_folder, intact):
    tfds = pytest.importorskip("tensorflow_datasets")
    folder, address = server
    files.imdb_archive(folder)
    path = folder / text.ARCHIVE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(text, "ARCHIVE_SHA256", digest)
    info = tfds.builder_cls("imdb_reviews").url_infos.copy().popitem()[1]
    url = address + text.ARCHIVE
    infos = {url: type(info)(size=path.stat().st_size, checksum=digest, filename=path.name)}
    monkeypatch.setattr(tfds, "builder_cls", lambda name: type("Builder", (), {"url_infos": infos}))
    if intact:
        dataset = load_real("text")
        assert dataset.card["notes"]["archive_as_published"]
        assert len(dataset.labels) == 12
    else:
        path.write_bytes(path.read_bytes()[:-10])
        with pytest.raises(UserError, match="failed"):
            load_real("text")
        assert not list(cache_folder.glob("text*"))
        assert all(path.suffix == ".lock" for path in cache_folder.glob("downloads/*"))


def test_a_host_out_of_reach_is_told_at_once(monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr("socket.create_connection", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    monkeypatch.setattr("urllib.request.getproxies", dict)
    for task, wanted in (("text", "aclImdb_v1.tar.gz"), ("image", "cifar-10-python.tar.gz")):
        with pytest.raises(UserError, match=f"cannot be reached.*{wanted}"):
            load_real(task)
