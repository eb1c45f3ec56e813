"""Text: is a film review of IMDb positive or negative, read character by character (or byte by byte)."""

from ssm_bench.data import synthetic
from ssm_bench.data.corpus import Corpus
from ssm_bench.data.task import Task, TaskSpec


class Text(Task):
    """IMDb reviews, two classes; label 1 is positive."""

    spec = TaskSpec("text", "Text", classes=2, kind="tokens", max_length=4096)
    tokenizations = ("characters", "bytes")
    citation = "A. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011"
    licence = "none stated by the authors; offered for research"
    wanted = "put aclImdb_v1.tar.gz, or the folder aclImdb it unpacks to, into the folder that SSM_BENCH_RAW names"

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Texts with words that tell the class."""
        return synthetic.reviews(max_length, tokens, counts, seed)
