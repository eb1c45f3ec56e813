"""Pathfinder's folders in the release of the Long Range Arena (LRA): images, their labels, and LRA's own splits."""

import io
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from ssm_bench.data import raw, splits
from ssm_bench.data.corpus import PIXELS, Corpus, offsets_of, single_documents
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

#: The folders of the release, by difficulty; LRA's splits carry the name of the difficulty.
FOLDERS = {"easy": "curv_baseline", "intermediate": "curv_contour_length_9", "hard": "curv_contour_length_14"}

#: Images of one resolution and difficulty in the release.
IMAGES = 200_000

#: Where LRA cuts validation and test off, in hundredths.
_LRA_CUTS = (80, 90)

# Columns of the metadata.
_FOLDER, _FILE, _LABEL = 0, 1, 3
_LABELS = ("0", "1", "0.0", "1.0")
_IMAGES_AT_ONCE = 500
_NUMPY_MAGIC = b"\x93NUMPY"
_BATCH = re.compile(r"0|[1-9][0-9]*")
_METADATA = re.compile(rf"({_BATCH.pattern})\.npy")
_IMAGE = re.compile(r"[^/.][^/]*/[^/.][^/]*/[^/.][^/]*")


def read(paths: list[Path], tokens: str, work: Work, *, resolution: int, title: str, scratch: Path) -> Corpus:
    """A folder of the release with metadata/<batch>.npy and imgs/<batch>/sample_<i>.png.

    Images come in the order of S4 and S5: batches by number, then the rows of their metadata. Images of no bytes (the
    release has one, in an easy set) are left out and counted.

    Args:
        paths: the folders metadata and imgs.
        tokens: not used.
        work: images are decoded by its processes.
        resolution: pixels along a side.
        title: of the set.
        scratch: a folder for the decoded images, so that they need no memory; it may not exist yet.

    Raises:
        UserError: a file is missing, broken or of another size.
    """
    metadata, images = paths
    with raw.reading(metadata, "folder of metadata of Pathfinder"):
        # Editors and people leave copies, such as 0.npy~ and 0.txt.
        files = {int(path.stem): path for path in metadata.iterdir() if _METADATA.fullmatch(path.name)}
        batches = {int(path.name) for path in images.iterdir() if _BATCH.fullmatch(path.name)}
    if not files:
        raise UserError(f"{metadata} holds no metadata, such as 0.npy")
    if without := batches - set(files):
        raise UserError(f"{metadata} lacks {min(without)}.npy for the images in {images / str(min(without))}")
    rows = [(batch, *row) for batch in sorted(files) for row in _rows(files[batch])]
    names = [name for _, name, _ in rows]
    if len(set(names)) < len(names):
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise UserError(f"{metadata} names {twice} twice")
    length = resolution * resolution
    try:
        values, empty = _pixels(images.parent, names, resolution, scratch, work, title)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    kept = np.delete(np.arange(len(rows)), empty)
    if empty:
        values = values.reshape(len(rows), length)[kept].reshape(-1)
    released = len(rows) == IMAGES
    return Corpus(
        values,
        offsets_of(np.full(len(kept), length)),
        single_documents(len(kept)),
        np.asarray([label for _, _, label in rows], np.int32)[kept],
        {"all": len(kept)},
        PIXELS,
        identity=f"{title} (LRA release)" if released else f"{title} ({len(rows):,} images)",
        kind="official" if released else "rebuilt",
        source=f"{images.parents[1].name}/{images.parent.name}",
        notes={"empty_files": len(empty), "release": _layout(rows, empty)},
    )


def _pixels(
    folder: Path, names: list[str], resolution: int, scratch: Path, work: Work, title: str
) -> tuple[np.ndarray, list[int]]:
    """Gray levels of all images one after another, memory-mapped, and the places of those of no bytes, left black."""
    scratch.mkdir(parents=True, exist_ok=True)
    stored = scratch / "values.npy"
    values = np.lib.format.open_memmap(stored, "w+", np.uint8, (len(names) * resolution**2,))
    chunks = [(i, names[i : i + _IMAGES_AT_ONCE]) for i in range(0, len(names), _IMAGES_AT_ONCE)]
    empty: list[int] = []
    with work.bar(f"{title}: reading images", len(names)) as advance:
        decoded = work.map(partial(_decode, folder, resolution, stored), chunks)
        for (_, chunk), without in zip(chunks, decoded, strict=True):
            empty += without
            advance(len(chunk))
    return values, empty


def lra_splits(notes: dict, difficulty: str) -> dict[str, np.ndarray] | None:
    """LRA's own splits: 80, 10 and 10 % in the order in which TensorFlow Datasets stores the images.

    LRA's builder (lra_benchmarks/data/pathfinder.py) gives each image the key `imgs/<batch>_<file>_<row, from 1>` in a
    split named after the difficulty, and its pipeline leaves the images of no bytes out after cutting.

    Returns:
        Sorted example indices, or None where the data are no release or its files have other names.
    """
    layout = notes.get("release")
    if not layout:
        return None
    keys = [f"imgs/{batch}_sample_{row}.png_{row + 1}" for batch, count in layout["batches"] for row in range(count)]
    # Where a row went when the empty ones were left out.
    place = np.arange(len(keys))
    present = np.ones(len(keys), bool)
    present[layout["empty"]] = False
    place[present] = np.arange(present.sum())
    order = splits.tfds_order(keys, difficulty)
    parts = np.split(order, [round(len(keys) * cut / 100) for cut in _LRA_CUTS])
    names = ("train", "validation", "test")
    return {name: np.sort(place[part[present[part]]]) for name, part in zip(names, parts, strict=True)}


def _layout(rows: list[tuple[int, str, int]], empty: list[int]) -> dict | None:
    """Images of each batch and the places of empty ones; None where the names are not those of the generator."""
    counts: dict[int, int] = {}
    for batch, name, _ in rows:
        place = counts.setdefault(batch, 0)
        if name != f"imgs/{batch}/sample_{place}.png":
            return None
        counts[batch] += 1
    return {"batches": [list(item) for item in counts.items()], "empty": empty}


def _rows(path: Path) -> list[tuple[str, int]]:
    """Relative path and label of each image of a batch."""
    with raw.reading(path, "metadata of Pathfinder"):
        # The release holds plain text under this name; the generator it came from writes a true array.
        if path.read_bytes().startswith(_NUMPY_MAGIC):
            # Mapped, so that a size which the file does not have takes no memory.
            table = np.load(path, mmap_mode="r", allow_pickle=False).tolist()
        else:
            table = [line.split() for line in path.read_text("utf-8").splitlines()]
        rows = [(f"{row[_FOLDER]}/{row[_FILE]}", str(row[_LABEL])) for row in table]
        if not rows:
            raise ValueError("it names no image")
        for name, label in rows:
            if label not in _LABELS:
                raise ValueError(f"label {label[:20]!r} of {name} is neither 0 nor 1")
            if not _IMAGE.fullmatch(name):
                raise ValueError(f"{name[:80]!r} is no path such as imgs/0/sample_0.png")
    return [(name, int(float(label))) for name, label in rows]


def _decode(folder: Path, resolution: int, stored: Path, chunk: tuple[int, list[str]]) -> list[int]:
    """Decodes images into their places in the array `stored`; returns the places of files of no bytes."""
    from PIL import Image

    first, names = chunk
    values = np.load(stored, mmap_mode="r+").reshape(-1, resolution, resolution)
    empty = []
    for place, name in enumerate(names, start=first):
        path = folder / name
        with raw.reading(path, "image of Pathfinder"):
            content = path.read_bytes()
            if not content:
                empty.append(place)
                continue
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                if image.size != (resolution, resolution):
                    raise ValueError(f"it has {image.size[0]} x {image.size[1]} pixels, not {resolution} squared")
                # Decoding does not look at the checksums of the pixels.
                image.verify()
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                values[place] = np.asarray(image.convert("L"))
    return empty
