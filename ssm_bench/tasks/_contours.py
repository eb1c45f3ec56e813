"""What Pathfinder and Path-X share: images of contours, released or generated, at several sizes and difficulties."""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_bench.data import cache, raw, splits, synthetic
from ssm_bench.data.corpus import PIXELS, Corpus, offsets_of, single_documents
from ssm_bench.data.task import RawFiles, Task, TaskSpec
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError
from ssm_bench.tasks._pathfinder import generate
from ssm_bench.tasks._pathfinder.stamps import fingerprint
from ssm_bench.tasks._pathfinder.variants import VARIANTS

#: The folders of the release, by difficulty.
FOLDERS = {"easy": "curv_baseline", "intermediate": "curv_contour_length_9", "hard": "curv_contour_length_14"}

#: The sets that have a name of their own in the benchmark: name and title of their data.
NAMED = {"32-hard": ("pathfinder", "Pathfinder"), "128-hard": ("pathx", "Path-X")}

#: Images of one resolution and difficulty in the release.
IMAGES = 200_000

#: Validation and test, each: the same images as in S4 and S5.
HELD_OUT_SHARE = 0.1

# Columns of the metadata.
_FOLDER, _FILE, _LABEL = 0, 1, 3
_IMAGES_AT_ONCE = 1000
_NUMPY_MAGIC = b"\x93NUMPY"


def contour_spec(name: str, title: str, resolution: int) -> TaskSpec:
    """The spec of a contour task of `resolution` x `resolution` pixels, scaled to [-1, 1] as in S5."""
    length = resolution * resolution
    return TaskSpec(name, title, classes=2, kind="pixels", max_length=length, pixel_mean=127.5, pixel_std=127.5)


class ContourTask(Task):
    """Are two markers on one contour (label 1) or on two (label 0).

    A subclass names the set that it is without a variant, such as "32-hard"; of its variants, those without a flaw or a
    caution of their own are in the release too.
    """

    #: The set of the task itself, a name of VARIANTS.
    own_set: ClassVar[str]
    tokenizations = ("pixels",)
    fetch_kind = "generated"
    citation = "D. Linsley et al., Learning Long-Range Spatial Dependencies with Horizontal Gated Recurrent Units, 2018"
    licence = "generator: MIT; none stated for the released images"
    wanted = (
        "unpack lra_release.gz of the Long Range Arena (it holds a folder for each resolution, such as pathfinder32) "
        "into the folder that SSM_BENCH_RAW names"
    )

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.set = variant or self.own_set
        if variant:
            title = f"{self.spec.title} ({variant})"
            self.spec = contour_spec(f"{self.spec.name}-{variant}", title, VARIANTS[variant].resolution)

    @property
    def data_name(self) -> str:
        """That of the set: a variant of Path-X has the data of the same variant of Pathfinder."""
        return NAMED[self.set][0] if self.set in NAMED else f"pathfinder-{self.set}"

    @property
    def _title(self) -> str:
        return NAMED[self.set][1] if self.set in NAMED else f"Pathfinder {self.set}"

    def raw_files(self) -> tuple[RawFiles, ...]:
        """The folder of the release; none where the release has no such set."""
        resolution, difficulty, *flavour = self.set.split("-")
        if flavour:
            return ()
        folder = f"pathfinder{resolution}/{FOLDERS[difficulty]}"
        read = partial(read_release, resolution=int(resolution), title=self._title)
        return (RawFiles((f"{folder}/metadata", f"{folder}/imgs"), "official", read),)

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Generates the set with the default seed; finished parts outlast an interruption."""
        folder = cache.scratch_of(cache.path_of(self, tokens, "generated"))
        values, labels = generate.make_set(self.set, IMAGES, folder, work, self._title)
        return Corpus(
            values,
            offsets_of(np.full(len(labels), self.spec.max_length)),
            single_documents(len(labels)),
            labels,
            {"all": len(labels)},
            PIXELS,
            identity=f"{self._title} (generated, seed {generate.SEED})",
            kind="generated",
            source=f"generator of this package, set {self.set}",
            notes={"tables": fingerprint(VARIANTS[self.set])},
        )

    def splits(self, parts: dict[str, np.ndarray], protocol: str) -> dict[str, np.ndarray]:
        """Both protocols: 80, 10 and 10 %, the same images as in S4 and S5."""
        (examples,) = parts.values()
        held_out = int(HELD_OUT_SHARE * len(examples))
        sizes = {"train": len(examples) - 2 * held_out, "validation": held_out, "test": held_out}
        return splits.held_out(examples, sizes)

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Two markers, joined by a stroke that is whole or has a gap."""
        return synthetic.joined_markers(max_length, counts, seed)


def read_release(paths: list[Path], tokens: str, work: Work, *, resolution: int, title: str) -> Corpus:
    """A folder of the release with imgs/<batch>/sample_<i>.png and metadata/<batch>.npy.

    Images come in the order of S4 and S5: batches by number, then the rows of their metadata. Images of no bytes (the
    release has one, in an easy set) are left out and counted.

    Raises:
        UserError: a file is missing, broken or of another size.
    """
    metadata, images = paths
    batches = sorted((path for path in metadata.iterdir() if path.stem.isdigit()), key=lambda path: int(path.stem))
    rows = [row for batch in batches for row in _rows(batch)]
    if not rows:
        raise UserError(f"{metadata} holds no metadata, such as 0.npy")
    length = resolution * resolution
    values = np.empty((len(rows), length), np.uint8)
    labels = np.empty(len(rows), np.int32)
    kept = 0
    chunks = [rows[i : i + _IMAGES_AT_ONCE] for i in range(0, len(rows), _IMAGES_AT_ONCE)]
    with work.bar(f"{title}: reading images", len(rows)) as advance:
        for chunk, pixels in zip(chunks, work.map(partial(_decode, images.parent, resolution), chunks), strict=True):
            for (_, label), image in zip(chunk, pixels, strict=True):
                if image is not None:
                    values[kept], labels[kept] = np.frombuffer(image, np.uint8), label
                    kept += 1
            advance(len(chunk))
    released = len(rows) == IMAGES
    return Corpus(
        values[:kept].reshape(-1),
        offsets_of(np.full(kept, length)),
        single_documents(kept),
        labels[:kept],
        {"all": kept},
        PIXELS,
        identity=f"{title} (LRA release)" if released else f"{title} ({len(rows):,} images)",
        kind="official" if released else "rebuilt",
        source=f"{images.parents[1].name}/{images.parent.name}",
        notes={"empty_files": len(rows) - kept},
    )


def _rows(path: Path) -> list[tuple[str, int]]:
    """Relative path and label of each image of a batch."""
    with raw.reading(path, "metadata of Pathfinder"):
        # The release holds plain text under this name; the generator it came from writes a true array.
        if path.read_bytes().startswith(_NUMPY_MAGIC):
            table = np.load(path, allow_pickle=False).tolist()
        else:
            table = [line.split() for line in path.read_text("utf-8").splitlines()]
        rows = [(f"{row[_FOLDER]}/{row[_FILE]}", int(row[_LABEL])) for row in table]
        if any(label not in (0, 1) for _, label in rows):
            raise ValueError("a label is neither 0 nor 1")
    return rows


def _decode(folder: Path, resolution: int, rows: list[tuple[str, int]]) -> list[bytes | None]:
    """The gray levels of each image, row by row; None for a file of no bytes."""
    from PIL import Image

    decoded: list[bytes | None] = []
    for name, _ in rows:
        path = folder / name
        with raw.reading(path, "image of Pathfinder"):
            if path.stat().st_size == 0:
                decoded.append(None)
                continue
            with Image.open(path) as image:
                if image.size != (resolution, resolution):
                    raise ValueError(f"it has {image.size[0]} x {image.size[1]} pixels, not {resolution} squared")
                decoded.append(image.convert("L").tobytes())
    return decoded
