"""Retrieval: does one paper of the ACL Anthology Network cite the other, told from their texts alone."""

from ssm_bench.data import synthetic
from ssm_bench.data.corpus import Corpus
from ssm_bench.data.task import Task, TaskSpec


class Retrieval(Task):
    """Pairs of papers, two classes; label 1 is a citation."""

    spec = TaskSpec("retrieval", "Retrieval", classes=2, kind="tokens", max_length=4000, documents=2)
    tokenizations = ("characters", "bytes")
    citation = "D. Radev et al., The ACL Anthology Network Corpus, Language Resources and Evaluation, 2013"
    licence = "ACL Anthology papers before 2016: CC BY-NC-SA 3.0"
    wanted = (
        "unpack lra_release.gz of the Long Range Arena (it holds tsv_data/new_aan_pairs.train.tsv) into the folder "
        "that SSM_BENCH_RAW names"
    )

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Pairs of texts on the same topic or on two."""
        return synthetic.document_pairs(max_length, tokens, counts, seed)
