"""What Pathfinder and Path-X share: images of contours, at one resolution and difficulty."""

from typing import ClassVar

from ssm_bench.data import synthetic
from ssm_bench.data.corpus import Corpus
from ssm_bench.data.task import Task, TaskSpec


def contour_spec(name: str, title: str, resolution: int) -> TaskSpec:
    """The spec of a contour task of `resolution` x `resolution` pixels, scaled to [-1, 1] as in S5."""
    length = resolution * resolution
    return TaskSpec(name, title, classes=2, kind="pixels", max_length=length, pixel_mean=127.5, pixel_std=127.5)


class ContourTask(Task):
    """Are two markers on one contour (label 1) or on two (label 0)."""

    #: Pixels along a side.
    resolution: ClassVar[int]
    tokenizations = ("pixels",)
    citation = "D. Linsley et al., Learning Long-Range Spatial Dependencies with Horizontal Gated Recurrent Units, 2018"
    wanted = (
        "unpack lra_release.gz of the Long Range Arena (it holds a folder for each resolution, such as pathfinder32) "
        "into the folder that SSM_BENCH_RAW names"
    )
    licence = "generator: MIT; none stated for the released images"

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Two markers, joined by a stroke that is whole or has a gap."""
        return synthetic.joined_markers(max_length, counts, seed)
