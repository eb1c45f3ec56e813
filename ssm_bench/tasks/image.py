"""Image: CIFAR-10 in gray, one pixel after another."""

from ssm_bench.data import synthetic
from ssm_bench.data.corpus import Corpus
from ssm_bench.data.task import Task, TaskSpec


class Image(Task):
    """CIFAR-10 in gray, 32 x 32 pixels row by row, ten classes."""

    # The mean and deviation that S4 and S5 use.
    spec = TaskSpec("image", "Image", classes=10, kind="pixels", max_length=1024, pixel_mean=122.6, pixel_std=61.0)
    tokenizations = ("pixels",)
    citation = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
    licence = "none stated by the authors"
    wanted = (
        "put cifar-10-python.tar.gz, or the folder cifar-10-batches-py it unpacks to, into the folder that "
        "SSM_BENCH_RAW names"
    )

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Noisy patterns, one for each class."""
        return synthetic.class_patterns(max_length, self.spec.classes, counts, seed)
