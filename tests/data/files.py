"""Writes tiny files in the formats of the real ones."""

import argparse
import hashlib
import io
import json
import lzma
import pickle
import tarfile

import numpy as np
from PIL import Image

from ssm_bench.cli import data

REVIEWS = {"train": 8, "test": 4}
IMAGES = {"train": 20, "test": 10}

LISTOPS_ROWS = (
    ("( ( ( ( [SM 0 ) 7 ) 5 ) ] )", 2),
    ("( ( ( [MAX 3 ) ( ( ( [MIN 9 ) 4 ) ] ) ) ] )", 4),
    ("( ( ( ( ( [MED 1 ) 8 ) 2 ) 9 ) ] )", 5),
)


def run(*arguments):
    """`ssm-bench data` with these arguments; its exit code."""
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args(arguments))


def listops(folder, rows=LISTOPS_ROWS):
    """basic_{train,val,test}.tsv with the same rows."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "Source\tTarget\n" + "".join(f"{source}\t{target}\n" for source, target in rows)
    for part in ("train", "val", "test"):
        (folder / f"basic_{part}.tsv").write_text(text, "utf-8")


def reviews():
    """part, label, number and text of each review, in the official order."""
    return [
        (part, label, number, f"Review {number} of {part}: {'good' if label else 'bad'} na\u00efve. " * (1 + number))
        for part, count in REVIEWS.items()
        for label in (1, 0)
        for number in range(count // 2)
    ]


def _review_files():
    return {
        f"aclImdb/{part}/{'pos' if label else 'neg'}/{number}_{9 if label else 2}.txt": text.encode()
        for part, label, number, text in reviews()
    }


def imdb_folder(folder):
    """The unpacked archive, with the unlabelled reviews that must be left out."""
    for name, content in {**_review_files(), "aclImdb/train/unsup/0_0.txt": b"no label"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def imdb_archive(folder):
    """aclImdb_v1.tar.gz."""
    _tar(folder / "aclImdb_v1.tar.gz", _review_files())


def imdb_lines(folder):
    """imdb.jsonl.xz, in another order."""
    rows = [{"split": p, "label": y, "id": i, "text": t} for p, y, i, t in reversed(reviews())]
    with lzma.open(folder / "imdb.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def cifar_batches():
    """Color images (n, 3072) and labels of each batch, each class equally often in each part."""
    rng = np.random.default_rng(1)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    sizes = [IMAGES["train"] // 5] * 5 + [IMAGES["test"]]
    labels = np.concatenate([rng.permutation(np.arange(count) % 10) for count in IMAGES.values()]).tolist()
    return {
        name: (rng.integers(0, 256, (size, 3072), np.uint8), [labels.pop(0) for _ in range(size)])
        for name, size in zip(names, sizes, strict=True)
    }


def cifar_marks():
    """COLOR_SUMS and LABELS_SHA256 of these batches."""
    batches = cifar_batches()
    parts = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    colors = {part: np.concatenate([batches[name][0] for name in names]) for part, names in parts.items()}
    sums = {part: tuple(of.reshape(-1, 3, 1024).sum((0, 2), dtype=int).tolist()) for part, of in colors.items()}
    return sums, hashlib.sha256(bytes(label for batch in batches.values() for label in batch[1])).hexdigest()


def _pickled(data, labels):
    # As Python 2 and the numpy of 2009 wrote it.
    content = pickle.dumps({b"data": data, b"labels": labels}, protocol=2)
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def _cifar_python():
    return {f"cifar-10-batches-py/{name}": _pickled(*batch) for name, batch in cifar_batches().items()}


def cifar_python_folder(folder):
    """cifar-10-batches-py."""
    for name, content in _cifar_python().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def cifar_python_archive(folder):
    """cifar-10-python.tar.gz."""
    _tar(folder / "cifar-10-python.tar.gz", {**_cifar_python(), "cifar-10-batches-py/readme.html": b"hello"})


def _cifar_binary():
    rows = {name: np.c_[np.asarray(labels, np.uint8), data] for name, (data, labels) in cifar_batches().items()}
    return {f"cifar-10-batches-bin/{name}.bin": row.tobytes() for name, row in rows.items()}


def cifar_binary_folder(folder):
    """cifar-10-batches-bin."""
    for name, content in _cifar_binary().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def cifar_binary_archive(folder):
    """cifar-10-binary.tar.gz."""
    _tar(folder / "cifar-10-binary.tar.gz", _cifar_binary())


def cifar_gray(folder):
    """cifar10_gray.npz.xz, with one stand-in."""
    rng = np.random.default_rng(2)
    arrays = {}
    for part, count in IMAGES.items():
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 32, 32), np.uint8)
        arrays[f"y_{part}"] = (np.arange(count) % 10).astype(np.uint8)
        arrays[f"exact_{part}"] = np.arange(count) != (0 if part == "train" else -1)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with lzma.open(folder / "cifar10_gray.npz.xz", "wb") as file:
        file.write(buffer.getvalue())
    return arrays


def aan_tsv(folder, rows=None):
    """new_aan_pairs.{train,eval,test}.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows or [
        ("1.0", "P1", "P2", 'A "parser', "the grammar"),
        ("0.0", "P1", "P3", 'A "parser', 'voice" codec'),
    ]
    text = "".join("\t".join(row) + "\n" for row in rows)
    for part in ("train", "eval", "test"):
        (folder / f"new_aan_pairs.{part}.tsv").write_text(text, "utf-8")


def aan_rebuilt(folder):
    """aan_docs.jsonl.xz and aan_pairs.npz: four papers, of which the third is in no pair."""
    texts = ["zero words", "one more words \u00e9" + "x" * 5000, "unused", "three %"]
    with lzma.open(folder / "aan_docs.jsonl.xz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": f"P{i}", "text": text}) + "\n" for i, text in enumerate(texts))
    train = np.asarray([[1, 0, 1], [0, 1, 0]], np.int32)
    np.savez(folder / "aan_pairs.npz", train=train, eval=train[:1], test=np.asarray([[0, 3, 1]], np.int32))
    return texts


def pathfinder(folder, resolution=32, as_text=True, difficulty="curv_contour_length_14"):
    """A folder of the release: batches 9 and 10, of which the first has an image of no bytes (row 4 of 30)."""
    base = folder / f"pathfinder{resolution}" / difficulty
    (base / "metadata").mkdir(parents=True)
    images = {}
    for batch in (10, 9):
        (base / "imgs" / str(batch)).mkdir(parents=True)
        rows = []
        for i in range(15):
            pixels = np.random.default_rng([batch, i]).integers(0, 256, (resolution, resolution), np.uint8)
            path = base / "imgs" / str(batch) / f"sample_{i}.png"
            Image.fromarray(pixels).save(path)
            if (batch, i) == (9, 3):
                path.write_bytes(b"")
            else:
                images[batch, i] = pixels
            fields = f"imgs/{batch}", path.name, i, (batch + i) % 2, 1.8, 14, 4.67, 5, 1.5, 2, 1
            rows.append([str(field) for field in fields])
        metadata = base / "metadata" / f"{batch}.npy"
        if as_text:
            metadata.write_text("".join(" ".join(row) + "\n" for row in rows), "utf-8")
        else:
            np.save(metadata, np.asarray(rows))
    return base, images


#: One file of each form that can be recognized as damaged: its task, and what writes the form.
FORMS = {
    "imdb.jsonl.xz": ("text", imdb_lines),
    "aclImdb_v1.tar.gz": ("text", imdb_archive),
    "cifar-10-python.tar.gz": ("image", cifar_python_archive),
    "cifar-10-binary.tar.gz": ("image", cifar_binary_archive),
    "cifar-10-batches-py/data_batch_3": ("image", cifar_python_folder),
    "cifar-10-batches-bin/test_batch.bin": ("image", cifar_binary_folder),
    "cifar10_gray.npz.xz": ("image", cifar_gray),
    "aan_docs.jsonl.xz": ("retrieval", aan_rebuilt),
    "aan_pairs.npz": ("retrieval", aan_rebuilt),
    "new_aan_pairs.eval.tsv": ("retrieval", aan_tsv),
    "basic_val.tsv": ("listops", listops),
    "pathfinder32/curv_contour_length_14/imgs/9/sample_7.png": ("pathfinder", pathfinder),
    "pathfinder32/curv_contour_length_14/metadata/10.npy": ("pathfinder", pathfinder),
}
