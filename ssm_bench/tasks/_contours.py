"""What Pathfinder and Path-X share: images of contours, released or generated, at several sizes and difficulties."""

from functools import partial
from math import inf
from typing import ClassVar

import numpy as np

from ssm_bench.data import cache, splits, synthetic
from ssm_bench.data.corpus import PIXELS, Corpus, offsets_of, single_documents
from ssm_bench.data.facts import Facts, Sample
from ssm_bench.data.task import RawFiles, Task, TaskSpec
from ssm_bench.data.work import Work
from ssm_bench.tasks import _release
from ssm_bench.tasks._pathfinder import generate
from ssm_bench.tasks._pathfinder.stamps import fingerprint
from ssm_bench.tasks._pathfinder.variants import VARIANTS

#: The sets that have a name of their own in the benchmark: name and title of their data.
NAMED = {"32-hard": ("pathfinder", "Pathfinder"), "128-hard": ("pathx", "Path-X")}

#: Images of a generated set, as many as the release has.
IMAGES = _release.IMAGES

#: Labels of the two classes.
COIN = Sample(inf, labels=(0.5, 0.5))

#: Of the arrays of generated sets that have been made on more than one machine.
CHECKSUMS = {
    "pathfinder-pixels": "b544a90a0ed9c640544d84ea19e5773343c108b255522ebd14154d5a477efe91",
    "pathfinder-32-easy-pixels": "bd34d6dd4369c3a5a2241d56e679f097b1ebc4c9f35095df00e2033da09d40f4",
}

#: Validation and test, each: the same images as in S4 and S5.
HELD_OUT_SHARE = 0.1


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
    can_be_cut = False
    tokenizations = ("pixels",)
    fetch_kind = "generated"
    citation = "D. Linsley et al., Learning Long-Range Spatial Dependencies with Horizontal Gated Recurrent Units, 2018"
    bibtex = """@inproceedings{linsley2018learning,
  title = {Learning Long-Range Spatial Dependencies with Horizontal Gated Recurrent Units},
  author = {Linsley, Drew and Kim, Junkyung and Veerabadran, Vijay and Windolf, Charles and Serre, Thomas},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018}
}"""
    license = "generator: MIT; none stated for the released images"
    wanted = (
        "unpack lra_release.gz of the Long Range Arena (it holds a folder for each resolution, such as pathfinder32) "
        "into the folder that SSM_BENCH_RAW names"
    )

    facts: ClassVar = {
        "official": Facts("the generator: a fair coin for each label", {"all": IMAGES}, sample=COIN),
        "generated": Facts(
            "the generator: a fair coin for each label, and earlier runs of it",
            {"all": IMAGES},
            sample=COIN,
            checksums=CHECKSUMS,
        ),
    }

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
        folder = f"pathfinder{resolution}/{_release.FOLDERS[difficulty]}"
        scratch = cache.scratch_of(cache.cache_path(self, "pixels", "official"))
        read = partial(_release.read, resolution=int(resolution), title=self._title, scratch=scratch)
        return (RawFiles((f"{folder}/metadata", f"{folder}/imgs"), "official", read),)

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Generates the set with the default seed; finished parts outlast an interruption."""
        folder = cache.scratch_of(cache.cache_path(self, tokens, "generated"))
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

    def splits(self, corpus: Corpus, protocol: str) -> dict[str, np.ndarray]:
        """80, 10 and 10 %: the images of S4 and S5; under "lra" those of LRA, where the data are its release."""
        if protocol == "lra" and (found := _release.lra_splits(corpus.notes, self.set.split("-")[1])):
            return found
        (examples,) = corpus.ranges().values()
        held_out = int(HELD_OUT_SHARE * len(examples))
        sizes = {"train": len(examples) - 2 * held_out, "validation": held_out, "test": held_out}
        return splits.held_out(examples, sizes)

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Two markers, joined by a stroke that is whole or has a gap."""
        return synthetic.joined_markers(max_length, counts, seed)
