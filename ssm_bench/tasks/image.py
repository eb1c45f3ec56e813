"""Image: CIFAR-10 in gray, one pixel after another."""

import hashlib
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from ssm_bench.data import download, raw, splits, synthetic
from ssm_bench.data.corpus import PIXELS, Corpus, offsets_of, single_documents
from ssm_bench.data.facts import Facts
from ssm_bench.data.task import RawFiles, Task, TaskSpec
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

#: Images in each part.
IMAGES = {"train": 50_000, "test": 10_000}

SIDE = 32
CLASSES = 10

#: Marks of the published data set, whatever form it comes in: the sums of all red, green and blue levels of each part
#: (the published means times the number of pixels; both are exact), and the SHA-256 of the labels of both parts, one
#: byte each, in the official order.
COLOR_SUMS = {
    "train": (6_415_714_204, 6_295_060_180, 5_829_907_619),
    "test": (1_290_492_328, 1_266_775_083, 1_176_108_223),
}
LABELS_SHA256 = "3edb456524d5918aefded81f5aef7c32efab2a788211df998a4eb0c8957baa1f"

#: Share of the official training images held out for validation, the same images as in S4 and S5.
VALIDATION_SHARE = 0.1

#: Fewer different images than this share of all are not CIFAR-10, whose images are all different.
DISTINCT_SHARE = 0.99

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_PYTHON, _BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"
_BYTES_PER_IMAGE = 1 + 3 * SIDE * SIDE

# Red, green and blue in 2**16ths: ITU-R 601, rounded as Pillow does, which S4 and S5 use.
_GRAY_WEIGHTS = np.asarray([19595, 38470, 7471], np.uint32)


def gray(images: np.ndarray) -> np.ndarray:
    """Red, green, blue planes (n, 3, pixels) uint8 to gray levels (n, pixels) uint8, ITU-R 601, as Pillow rounds."""
    weighted = np.zeros((images.shape[0], images.shape[2]), np.uint32)
    for plane, weight in enumerate(_GRAY_WEIGHTS):
        weighted += images[:, plane].astype(np.uint32) * weight
    return ((weighted + (1 << 15)) >> 16).astype(np.uint8)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads the pickles of the Python archive, and nothing that could run code."""

    allowed = frozenset({"_reconstruct", "ndarray", "dtype", "encode"})

    def find_class(self, module: str, name: str):
        if name not in self.allowed or module.split(".")[0] not in ("numpy", "_codecs"):
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no array")
        return super().find_class(module, name)


def _from_pickle(file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    batch = _ArrayUnpickler(file, encoding="bytes").load()
    data, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        raise ValueError(f"its pixels are {getattr(data, 'dtype', type(data).__name__)}, not uint8")
    if any(type(label) is not int for label in labels):
        raise ValueError("a label is not an integer")
    return data.reshape(-1, 3, SIDE * SIDE), raw.integers(np.asarray(labels), "labels", 1, 0, CLASSES - 1)


def _from_binary(file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    rows = np.frombuffer(file.read(), np.uint8).reshape(-1, _BYTES_PER_IMAGE)
    return rows[:, 1:].reshape(-1, 3, SIDE * SIDE), raw.integers(rows[:, 0], "labels", 1, 0, CLASSES - 1)


def _decoded(decode: Callable, file: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one batch.

    Raises:
        ValueError: it holds no image, or images without labels.
    """
    images, labels = decode(file)
    if not len(images) == len(labels) > 0:
        raise ValueError(f"it holds {len(images):,} images and {len(labels):,} labels")
    return images, labels


def _from_folder(decode: Callable, suffix: str) -> Callable[[list[Path], str, Work], Corpus]:
    """A reader of an unpacked folder, one path for each batch."""

    def read(paths: list[Path], tokens: str, work: Work) -> Corpus:
        batches = {}
        for path in work.track(paths, "Image: reading CIFAR-10"):
            with raw.reading(path, "CIFAR-10 batch"), path.open("rb") as file:
                batches[path.name.removesuffix(suffix)] = _decoded(decode, file)
        return _from_batches(batches, paths[0].parent, work)

    return read


def _from_archive(decode: Callable, suffix: str) -> Callable[[list[Path], str, Work], Corpus]:
    """A reader of an official archive."""

    def read(paths: list[Path], tokens: str, work: Work) -> Corpus:
        (path,) = paths
        wanted = {f"{name}{suffix}": name for names in _BATCHES.values() for name in names}
        batches = {}
        with (
            raw.reading(path, "archive of CIFAR-10"),
            raw.tar_gz(path) as archive,
            work.bar(f"Image: reading {path.name}", len(wanted)) as advance,
        ):
            for member in archive:
                name = wanted.get(Path(member.name).name)
                if name in batches:
                    raise ValueError(f"it holds {name} twice")
                if name:
                    batches[name] = _decoded(decode, io.BytesIO(raw.content(archive, member)))
                    advance(1)
        return _from_batches(batches, path, work)

    return read


def _from_batches(batches: dict[str, tuple[np.ndarray, np.ndarray]], source: Path, work: Work) -> Corpus:
    images, labels = {}, {}
    for part, names in _BATCHES.items():
        missing = [name for name in names if name not in batches]
        if missing:
            raise UserError(f"{source} lacks the batch {missing[0]} of CIFAR-10; fetch it again")
        images[part] = np.concatenate([batches[name][0] for name in names])
        labels[part] = np.concatenate([batches[name][1] for name in names])
    return _from_colors(images, labels, source, work)


def read_tfds(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """What TFDS's own builder prepared: color images, whose ids give the official order."""
    source = paths[0].parent
    images = {part: np.empty((count, 3, SIDE * SIDE), np.uint8) for part, count in IMAGES.items()}
    labels = {part: np.full(count, -1) for part, count in IMAGES.items()}
    for part, _, row in download.prepared_examples(source, IMAGES, "Image", work):
        with raw.reading(source, "copy of CIFAR-10"):
            number = int(row["id"].decode().rpartition("_")[2])
            images[part][number] = np.asarray(row["image"]).reshape(SIDE * SIDE, 3).T
            labels[part][number] = row["label"]
    with raw.reading(source, "copy of CIFAR-10"):
        labels = {part: raw.integers(of_part, "labels", 1, 0, CLASSES - 1) for part, of_part in labels.items()}
    return _from_colors(images, labels, source, work)


def _from_colors(images: dict[str, np.ndarray], labels: dict[str, np.ndarray], source: Path, work: Work) -> Corpus:
    """The gray corpus of color images (n, 3, pixels): official if all of its marks are those of the published set."""
    sums = {part: tuple(of_part.sum((0, 2), dtype=np.int64).tolist()) for part, of_part in images.items()}
    flat = np.concatenate([labels[part] for part in IMAGES]).astype(np.uint8)
    published = sums == COLOR_SUMS and hashlib.sha256(flat.tobytes()).hexdigest() == LABELS_SHA256
    identity, kind = ("CIFAR-10 gray", "official") if published else ("CIFAR-10 gray (altered copy)", "rebuilt")
    if not published:
        work.say(f"{source}: the number of images is right, but they are not those of the published CIFAR-10")
    return _corpus({part: gray(of_part) for part, of_part in images.items()}, labels, source, identity, kind)


def read_gray(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """cifar10_gray.npz.xz: gray images in the official order, some of them stand-ins decoded from JPEG."""
    (path,) = paths
    work.say(f"Image: reading {path.name}")
    with raw.reading(path, "file of gray CIFAR-10"):
        arrays = raw.npz(raw.unpacked_xz(path))
        images = {part: raw.integers(arrays[f"x_{part}"], "pixels", 3, 0, 255) for part in IMAGES}
        labels = {part: raw.integers(arrays[f"y_{part}"], "labels", 1, 0, CLASSES - 1) for part in IMAGES}
        if any(of_part.shape[1:] != (SIDE, SIDE) for of_part in images.values()):
            raise ValueError(f"its images have another size than {SIDE} x {SIDE}")
        images = {part: of_part.astype(np.uint8).reshape(-1, SIDE * SIDE) for part, of_part in images.items()}
        exact = {part: arrays[f"exact_{part}"] for part in IMAGES}
        if any(exact[part].dtype != bool or exact[part].shape != labels[part].shape for part in IMAGES):
            raise ValueError("its marks of exact images are not one bool for each image")
        stand_ins = int(sum((~of_part).sum() for of_part in exact.values()))
    identity = f"CIFAR-10 gray (rebuilt, {stand_ins} JPEG stand-ins)"
    return _corpus(images, labels, path, identity, "rebuilt", stand_ins=stand_ins)


def _corpus(
    images: dict[str, np.ndarray], labels: dict[str, np.ndarray], source: Path, identity: str, kind: str, **notes
) -> Corpus:
    counts = {part: len(of_part) for part, of_part in images.items()}
    of_labels = {part: len(of_part) for part, of_part in labels.items()}
    if not counts == of_labels == IMAGES:
        raise UserError(
            f"{source} holds {counts['train']:,} training and {counts['test']:,} test images with "
            f"{of_labels['train']:,} and {of_labels['test']:,} labels; it should hold {IMAGES['train']:,} and "
            f"{IMAGES['test']:,}"
        )
    for part, count in IMAGES.items():
        of_class = np.bincount(labels[part], minlength=CLASSES).tolist()
        if of_class != [count // CLASSES] * CLASSES:
            raise UserError(
                f"{source} holds {' '.join(f'{n:,}' for n in of_class)} images of the classes in {part}; it should "
                f"hold {count // CLASSES:,} of each"
            )
    values = np.concatenate([images[part] for part in IMAGES])
    distinct = len({image.tobytes() for image in values})
    if distinct < DISTINCT_SHARE * len(values):
        raise UserError(f"{source} holds {distinct:,} different images; {len(values):,} are expected")
    flat_labels = np.concatenate([labels[part] for part in IMAGES]).astype(np.int32)
    return Corpus(
        values.reshape(-1),
        offsets_of(np.full(len(values), SIDE * SIDE)),
        single_documents(len(values)),
        flat_labels,
        counts,
        PIXELS,
        identity,
        kind,
        source.name,
        notes,
    )


class Image(Task):
    """CIFAR-10 in gray, 32 x 32 pixels row by row, ten classes."""

    # The mean and deviation that S4 and S5 use.
    spec = TaskSpec(
        "image", "Image", classes=CLASSES, kind="pixels", max_length=SIDE * SIDE, pixel_mean=122.6, pixel_std=61.0
    )
    tokenizations = ("pixels",)
    fetch_kind = "official"
    citation = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    bibtex = """@techreport{krizhevsky2009learning,
  title = {Learning Multiple Layers of Features from Tiny Images},
  author = {Krizhevsky, Alex},
  institution = {University of Toronto},
  year = {2009}
}"""
    license = "none stated by the authors"
    wanted = (
        "put cifar-10-python.tar.gz, or the folder cifar-10-batches-py it unpacks to, into the folder that "
        "SSM_BENCH_RAW names"
    )

    facts: ClassVar = dict.fromkeys(
        ("official", "rebuilt"),
        Facts(
            "the published data set",
            IMAGES,
            labels={part: (count // CLASSES,) * CLASSES for part, count in IMAGES.items()},
            shared={("train", "train"): 0, ("test", "test"): 0, ("train", "test"): 0},
        ),
    )

    def raw_files(self) -> tuple[RawFiles, ...]:
        """The official folders and archives, Python or binary, what TFDS prepared, or a file of gray images."""
        names = [name for part in _BATCHES.values() for name in part]
        return (
            RawFiles(tuple(f"{_PYTHON}/{name}" for name in names), "official", _from_folder(_from_pickle, "")),
            RawFiles(("cifar-10-python.tar.gz",), "official", _from_archive(_from_pickle, "")),
            RawFiles(tuple(f"{_BINARY}/{name}.bin" for name in names), "official", _from_folder(_from_binary, ".bin")),
            RawFiles(("cifar-10-binary.tar.gz",), "official", _from_archive(_from_binary, ".bin")),
            RawFiles(("cifar10/3.0.2/dataset_info.json",), "official", read_tfds),
            RawFiles(("cifar10_gray.npz.xz",), "rebuilt", read_gray),
        )

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Downloads the official archive, the binary version."""
        path = download.archive("cifar10", "cifar-10-binary.tar.gz", self.wanted, work)
        return _from_archive(_from_binary, ".bin")([path], tokens, work)

    def splits(self, corpus: Corpus, protocol: str) -> dict[str, np.ndarray]:
        """45,000 and 5,000 of the training images: those of S4 and S5; under "lra" those of LRA."""
        parts = corpus.ranges()
        train = parts["train"]
        kept = int(len(train) * (1 - VALIDATION_SHARE))
        if protocol == "lra":
            order = train[splits.tfds_order(range(len(train)), "train")]
            return {"train": np.sort(order[:kept]), "validation": np.sort(order[kept:]), "test": parts["test"]}
        dealt = splits.held_out(train, {"train": kept, "validation": len(train) - kept})
        return {**dealt, "test": parts["test"]}

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Noisy patterns, one for each class."""
        return synthetic.class_patterns(max_length, self.spec.classes, counts, seed)
