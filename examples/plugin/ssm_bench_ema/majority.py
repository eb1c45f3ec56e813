"""A task: which of two digits is the more frequent one."""

from dataclasses import replace

import numpy as np

from ssm_bench.data.corpus import END, SPECIAL_TOKENS, Corpus, Vocabulary, offsets_of, single_documents
from ssm_bench.data.task import Task, TaskSpec
from ssm_bench.data.work import Work

VOCABULARY = Vocabulary("words", (*SPECIAL_TOKENS, "0", "1"))
COUNTS = {"train": 20_000, "validation": 2_000, "test": 10_000}


def generate(longest: int, counts: dict[str, int], seed: int) -> Corpus:
    """Sequences of an odd number of random digits, up to `longest` tokens with the end token; labels are balanced."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([random.permutation(np.arange(n) % 2) for n in counts.values()]).astype(np.int32)
    documents = []
    for label in labels:
        digits = random.integers(0, 2, 2 * random.integers(longest // 4, longest // 2) - 1)
        if (digits.mean() > 0.5) != label:
            digits = 1 - digits
        documents.append(np.append(len(SPECIAL_TOKENS) + digits, END).astype(np.uint8))
    return Corpus(
        values=np.concatenate(documents),
        offsets=offsets_of([len(document) for document in documents]),
        documents=single_documents(len(documents)),
        labels=labels,
        parts=dict(counts),
        vocabulary=VOCABULARY,
        identity=f"majority (seed {seed})",
        kind="generated",
        source="generator of ssm-bench-ema",
    )


class Majority(Task):
    """Sequences of zeros and ones; the label is the more frequent digit."""

    spec = TaskSpec("majority", "Majority", classes=2, kind="tokens", max_length=256)
    tokenizations = ("words",)
    fetch_kind = "generated"
    citation = "an example of a task"
    bibtex = "@misc{majority, title = {An example of a task}}"
    license = "generated"
    wanted = "nothing has to be fetched: run `ssm-bench data prepare majority`"

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """The data set itself; it is prepared once and kept in the cache."""
        return generate(self.spec.max_length, COUNTS, seed=0)

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """A smaller one for `--data synthetic`."""
        small = generate(max_length, counts, seed)
        return replace(small, identity="synthetic stand-in: shorter sequences", kind="synthetic", source="generated")
