"""Raw files that hold nonsense, or are no files, are refused in one sentence that names the file; nothing hangs."""

import io
import json
import lzma
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_bench.data import load, raw
from ssm_bench.data.dataset import find
from ssm_bench.errors import UserError
from ssm_bench.tasks import image
from tests.data import files

pytestmark = pytest.mark.usefixtures("small_sets")


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Starting processes takes longer than all else here."""
    monkeypatch.setattr("ssm_bench.data.work.usable_cores", lambda: 1)


def refused(task, cache_folder, told):
    """The sentence with which a task's files are refused; nothing is left in the cache."""
    for data in ("auto", "real"):
        with pytest.raises(UserError, match=told) as error:
            load(task, data=data, progress=False)
        assert "\n" not in str(error.value)
    assert [path for path in cache_folder.glob("*") if path.suffix != ".lock"] == []
    return str(error.value)


# Any file is a text: that of a folder is refused only where it is missing or cannot be decoded.
FORMS = files.FORMS | {"aclImdb/train/pos/1_9.txt": ("text", files.imdb_folder)}


def as_folder(path):
    path.mkdir()


def as_pipe(path):
    os.mkfifo(path)


def as_empty(path):
    path.touch()


def as_zeros(path):
    path.write_bytes(bytes(1000))


def as_huge_array(path):
    """A header that claims 240 TB."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (30_000_000_000_000,)}
        )


def as_pickle(path):
    path.write_bytes(pickle.dumps([print, np.zeros(3)]))


def as_nested_json(path):
    path.write_bytes(lzma.compress(b"[" * 100_000))


@pytest.mark.parametrize("write", [as_folder, as_pipe, as_empty, as_zeros, as_huge_array, as_pickle, as_nested_json])
@pytest.mark.parametrize("name", FORMS)
def test_something_else_in_place_of_a_file(raw_folder, cache_folder, name, write):
    task, form = FORMS[name]
    form(raw_folder)
    path = raw_folder / name
    path.unlink()
    if write is as_empty and path.suffix == ".png":
        pytest.skip("the release itself has an image of no bytes")
    write(path)
    if name.startswith("aclImdb/"):
        # Any file is a text: only one that is missing or cannot be decoded is noticed here.
        if write in (as_folder, as_pipe):
            refused(task, cache_folder, "7 training")
        return
    assert path.name in refused(task, cache_folder, ".")


COMPRESSED = [name for name in FORMS if name.endswith((".gz", ".xz", ".npz", ".png"))]


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), name=st.sampled_from(COMPRESSED))
def test_a_flipped_bit_in_a_compressed_file_never_changes_the_data(tmp_path_factory, place, bit, name):
    task, form = FORMS[name]
    folder = tmp_path_factory.mktemp("flip")
    with pytest.MonkeyPatch.context() as patch:
        checksums = []
        for damaged in (False, True):
            source = folder / f"raw{damaged}"
            source.mkdir()
            form(source)
            if damaged:
                path = source / name
                content = bytearray(path.read_bytes())
                content[int(place * len(content))] ^= 1 << bit
                path.write_bytes(content)
            patch.setenv("SSM_BENCH_RAW", str(source))
            patch.setenv("SSM_BENCH_CACHE", str(folder / f"cache{damaged}"))
            try:
                dataset = load(task, data="real", progress=False)
                checksums.append((dataset.card["checksum"], dataset.card["identity"]))
            except UserError as error:
                assert "\n" not in str(error)
                assert path.name in str(error)
        assert len(set(checksums)) == 1
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["aclImdb_v1.tar.gz", "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"])
@pytest.mark.parametrize("place", [-8, -4])
def test_the_checksum_at_the_end_of_an_archive_is_read(raw_folder, cache_folder, name, place):
    task, form = FORMS[name]
    form(raw_folder)
    content = bytearray((raw_folder / name).read_bytes())
    content[place] ^= 1
    (raw_folder / name).write_bytes(content)
    refused(task, cache_folder, name)


@pytest.mark.parametrize(
    "row",
    [
        {"text": None}, {"text": 7}, {"text": ["a"]}, {"text": "\ud800"}, {"label": 1.0}, {"label": True},
        {"label": "1"}, {"label": None}, {"label": 2}, {"split": "unsup"}, {"split": None}, {"split": []}, {"id": None},
        {"id": "x"},
    ],
)  # fmt: skip
def test_wrong_values_in_a_line_of_reviews(raw_folder, cache_folder, row):
    files.imdb_lines(raw_folder)
    path = raw_folder / "imdb.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | row).encode()
    path.write_bytes(lzma.compress(b"\n".join(lines) + b"\n"))
    refused("text", cache_folder, "imdb.jsonl.xz")


@pytest.mark.parametrize("line", ["null", "7", "[]", "{}", '{"text": null}', '{"text": 3}', '{"text": ""}'])
def test_wrong_values_in_a_line_of_papers(raw_folder, cache_folder, line):
    files.aan_rebuilt(raw_folder)
    path = raw_folder / "aan_docs.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).splitlines()
    lines[1] = line.encode()
    path.write_bytes(lzma.compress(b"\n".join(lines) + b"\n"))
    refused("retrieval", cache_folder, "aan_docs.jsonl.xz")


PAIR = [[1, 0, 1]]


@pytest.mark.parametrize(
    "part",
    [
        np.asarray(1), np.asarray(["1", "0", "1"]), np.asarray([["1", "0", "1"]]), np.asarray([[1.0, 0.0, 1.0]]),
        np.asarray([[1.5, 0.0, 1.0]]), np.asarray([[2**32 + 1, 0, 1]]), np.asarray([[-1, 0, 1]]),
        np.asarray([[1, -1, 1]]), np.asarray([[1, 0]]), np.asarray([1, 0, 1]), np.zeros((0, 3), int),
        np.asarray([[np.nan, 0, 1]]), np.asarray([[True, False, True]]), np.asarray([[1, 0, 2**63]], np.uint64),
    ],
)  # fmt: skip
def test_wrong_pairs(raw_folder, cache_folder, part):
    files.aan_rebuilt(raw_folder)
    np.savez(raw_folder / "aan_pairs.npz", train=part, eval=np.asarray(PAIR), test=np.asarray(PAIR))
    refused("retrieval", cache_folder, "aan_pairs.npz")


def gray_arrays(raw_folder, **changes):
    arrays = files.cifar_gray(raw_folder) | changes
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    (raw_folder / "cifar10_gray.npz.xz").write_bytes(lzma.compress(buffer.getvalue()))


GRAY = np.random.default_rng(2).integers(0, 256, (20, 32, 32), np.uint8)
LABELS = np.arange(20) % 10


@pytest.mark.parametrize(
    "changes",
    [
        {"x_train": GRAY.astype(float)}, {"x_train": GRAY / 255}, {"x_train": GRAY.astype(str)},
        {"x_train": GRAY.astype(int) + 1}, {"x_train": GRAY.reshape(20, 16, 64)}, {"x_train": GRAY[:19]},
        {"x_train": np.zeros_like(GRAY)}, {"x_train": np.asarray(1, np.uint8)}, {"x_train": GRAY > 99},
        {"y_train": LABELS + 0.5}, {"y_train": LABELS.astype(float)}, {"y_train": LABELS.astype(str)},
        {"y_train": LABELS + 2**32}, {"y_train": LABELS + 1}, {"y_train": LABELS - 1}, {"y_train": LABELS * 0},
        {"y_train": LABELS[:19]}, {"y_train": np.asarray(1)}, {"y_train": LABELS[None]},
        {"exact_train": LABELS}, {"exact_train": LABELS[:3] > 1}, {"exact_train": np.asarray(None)},
    ],
)  # fmt: skip
def test_wrong_gray_images(raw_folder, cache_folder, changes):
    gray_arrays(raw_folder, **changes)
    refused("image", cache_folder, "cifar10_gray.npz.xz")


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (lambda data: data.astype(float), list), (lambda data: data.astype(int) + 1, list), (bytes, list),
        (lambda data: data.astype("<u2"), list), (lambda data: None, list),
        (lambda data: data, lambda labels: [label + 0.5 for label in labels]),
        (lambda data: data, lambda labels: [float(label) for label in labels]),
        (lambda data: data, lambda labels: [str(label) for label in labels]),
        (lambda data: data, lambda labels: [label + 2**32 for label in labels]),
        (lambda data: data, lambda labels: [label + 10**30 for label in labels]),
        (lambda data: data, lambda labels: [bool(label) for label in labels]),
        (lambda data: data, lambda labels: [0 for _ in labels]),
        (lambda data: data, lambda labels: labels[:-1]), (lambda data: data, lambda labels: None),
        (lambda data: data, lambda labels: 3),
    ],
)  # fmt: skip
def test_wrong_batches(raw_folder, cache_folder, data, labels):
    files.cifar_python_folder(raw_folder)
    path = raw_folder / "cifar-10-batches-py" / "data_batch_2"
    batch = files.cifar_batches()["data_batch_2"]
    path.write_bytes(pickle.dumps({b"data": data(batch[0]), b"labels": labels(batch[1])}, protocol=2))
    refused("image", cache_folder, "data_batch_2|cifar-10-batches-py")


@pytest.mark.parametrize(
    "write",
    [files.cifar_python_folder, files.cifar_python_archive, files.cifar_binary_folder, files.cifar_binary_archive],
)
@pytest.mark.parametrize("mark", [("COLOR_SUMS", {}), ("LABELS_SHA256", "")])
def test_images_that_are_not_the_published_ones_are_not_called_official(raw_folder, monkeypatch, write, mark):
    monkeypatch.setattr(image, *mark)
    write(raw_folder)
    card = load("image", progress=False).card
    assert (card["identity"], card["kind"]) == ("CIFAR-10 gray (altered copy)", "rebuilt")


def test_constant_images_are_refused(raw_folder, cache_folder):
    labels = np.arange(20, dtype=np.uint8) % 10
    for name, rows in {
        **{f"data_batch_{i}": labels[4 * i - 4 : 4 * i] for i in range(1, 6)},
        "test_batch": labels[:10],
    }.items():
        path = raw_folder / "cifar-10-batches-bin" / f"{name}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(np.c_[rows, np.full((len(rows), 3072), 7, np.uint8)].tobytes())
    refused("image", cache_folder, "1 different images; 30 are expected")


def test_a_batch_that_an_archive_holds_twice_is_refused(raw_folder, cache_folder):
    path = raw_folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for folder in ("cifar-10-batches-bin", "backup"):
            info = tarfile.TarInfo(f"{folder}/test_batch.bin")
            info.size = 3073
            archive.addfile(info, io.BytesIO(bytes(3073)))
    refused("image", cache_folder, "test_batch twice")


def png(width, height, *chunks):
    """A PNG file of that size, by its header."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*c) for c in chunks) + chunk(b"IEND", b"")


BOMBS = {
    "many pixels": png(60_000, 60_000, (b"IDAT", zlib.compress(bytes(10_000)))),
    "too many pixels": png(2**31 - 1, 2**31 - 1, (b"IDAT", zlib.compress(b""))),
    "text": png(
        32, 32, (b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000))), (b"IDAT", zlib.compress(bytes(33 * 32)))
    ),
    "no pixels": png(32, 32),
    "a gif": b"GIF89a" + bytes(100),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_that_are_bombs_or_no_images(raw_folder, cache_folder, name):
    base, _ = files.pathfinder(raw_folder)
    (base / "imgs" / "10" / "sample_2.png").write_bytes(BOMBS[name])
    refused("pathfinder", cache_folder, "sample_2.png")


@pytest.mark.parametrize(
    "content",
    [
        np.asarray(1.0), np.asarray([1.0, 2.0]), np.zeros((15, 11)), np.asarray([["imgs/10", "sample_0.png"]]),
        np.asarray([["imgs/10", "sample_0.png", "0", "0.5"]]), np.asarray([["imgs/10", "sample_0.png", "0", "nan"]]),
        np.asarray([["../..", "etc/passwd", "0", "1"]]), np.asarray([["/etc", "x/passwd", "0", "1"]]),
        np.asarray([["imgs/10", "sample_0.png", "0", "1"]] * 2), np.zeros((0, 4), str),
    ],
)  # fmt: skip
def test_wrong_metadata(raw_folder, cache_folder, content):
    base, _ = files.pathfinder(raw_folder)
    (base / "metadata" / "9.npy").unlink()
    shutil.rmtree(base / "imgs" / "9")
    np.save(base / "metadata" / "10.npy", content)
    refused("pathfinder", cache_folder, "metadata")


@pytest.mark.parametrize("name", [name for name in FORMS if name.endswith((".npz", ".xz", ".tar.gz"))])
def test_files_that_unpack_to_too_much(raw_folder, cache_folder, monkeypatch, name):
    task, form = FORMS[name]
    form(raw_folder)
    monkeypatch.setattr(raw, "_LARGEST_UNPACKED", 100)
    refused(task, cache_folder, "claims [0-9,]* bytes|more than 100 ")


@pytest.mark.parametrize("copy", ["9.npy~", "9.txt", "9.npy.bak", "9 (copy).npy", "#9.npy#", ".9.npy.swp", "09.npy"])
def test_copies_of_metadata_are_not_counted(raw_folder, copy):
    base, _ = files.pathfinder(raw_folder)
    expected = load("pathfinder", progress=False).card
    shutil.copy(base / "metadata" / "9.npy", base / "metadata" / copy)
    assert files.run("prepare", "pathfinder", "--again") == 0
    assert load("pathfinder", progress=False).card == expected


def test_the_same_image_in_two_batches_is_refused(raw_folder, cache_folder):
    base, _ = files.pathfinder(raw_folder)
    shutil.copy(base / "metadata" / "9.npy", base / "metadata" / "11.npy")
    refused("pathfinder", cache_folder, "sample_0.png twice")


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("task", "write", "missing"),
    [
        ("listops", files.listops, "basic_val.tsv"),
        ("listops", lambda folder: files.listops(folder / "listops-1000"), "listops-1000/basic_test.tsv"),
        ("pathfinder", files.pathfinder, "pathfinder32/curv_contour_length_14/metadata"),
        ("pathfinder", files.pathfinder, "pathfinder32/curv_contour_length_14/imgs"),
        ("pathfinder", files.pathfinder, "pathfinder32/curv_contour_length_14/metadata/10.npy"),
        ("pathfinder", files.pathfinder, "pathfinder32/curv_contour_length_14/imgs/10"),
        ("retrieval", files.aan_tsv, "new_aan_pairs.eval.tsv"),
        ("retrieval", files.aan_rebuilt, "aan_pairs.npz"),
        ("text", files.imdb_folder, "aclImdb/test/neg"),
        ("text", files.imdb_folder, "aclImdb/train/pos"),
        ("image", files.cifar_python_folder, "cifar-10-batches-py/data_batch_4"),
        ("image", files.cifar_binary_folder, "cifar-10-batches-bin/test_batch.bin"),
    ],
)
def test_half_a_release_is_an_error_before_anything_is_made(
    raw_folder, cache_folder, monkeypatch, task, write, missing
):

    write(raw_folder)
    remove(raw_folder / missing)
    monkeypatch.setattr(type(find(task)), "fetch", lambda *a: pytest.fail("it was generated or downloaded"))
    refused(task, cache_folder, missing.rsplit("/", 1)[-1])


def test_half_a_better_release_does_not_give_way_to_a_lesser_one(raw_folder, cache_folder):
    files.aan_rebuilt(raw_folder)
    files.aan_tsv(raw_folder)
    remove(raw_folder / "new_aan_pairs.test.tsv")
    refused("retrieval", cache_folder, "lacks new_aan_pairs.test.tsv")


def test_a_missing_file_ends_with_code_2(raw_folder):
    files.listops(raw_folder)
    remove(raw_folder / "basic_val.tsv")
    command = [sys.executable, "-m", "ssm_bench", "data", "prepare", "listops"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 2
    assert "lacks basic_val.tsv" in found.stderr
    assert len(found.stderr.strip().splitlines()) == 1


SCRIPT = """
import ssm_bench.data.work
from ssm_bench.data import load, raw

# Two processes on a machine of one core too.
ssm_bench.data.work.usable_cores = lambda: 2
print(len(load("pathfinder", data="real", progress=False).labels), "examples")
"""


def test_a_script_without_a_main_guard_prepares(raw_folder, tmp_path):
    files.pathfinder(raw_folder)
    script = tmp_path / "plain_script.py"
    script.write_text(SCRIPT)
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200)
    # Printed once: the processes did not run the script again.
    assert (found.stdout, found.stderr, found.returncode) == ("29 examples\n", "", 0)
