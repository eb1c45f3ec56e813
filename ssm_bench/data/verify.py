"""Proves prepared data: recomputes what the card says, and compares them with what is known of the task."""

import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np

from ssm_bench.data import cache
from ssm_bench.data.card import QUANTILES
from ssm_bench.data.corpus import Corpus
from ssm_bench.data.facts import Check, share_checks
from ssm_bench.data.task import Task
from ssm_bench.data.work import Work

_DIGEST_BYTES = 16
_DOCUMENTS_AT_ONCE = 1000


def verify(task: Task, folder: Path, work: Work) -> tuple[list[str], list[Check]]:
    """Everything that can be checked of a prepared folder.

    Returns:
        What is damaged, one sentence each, and what was compared with recorded facts. Damaged data are compared
        with nothing.
    """
    damage = cache.verify(folder, task.spec.classes)
    if damage:
        return damage, []
    corpus, card = cache.open_corpus(folder, task.spec.classes)
    return [], checks(task, corpus, card["checksum"], work)


def checks(task: Task, corpus: Corpus, checksum: str, work: Work) -> list[Check]:
    """Counts, labels, lengths, duplicates, checksum and what the task itself checks, against the recorded facts."""
    facts = task.facts.get(corpus.kind)
    ranges = corpus.ranges()
    found = []
    recorded = facts.parts if facts else {}
    for part, examples in ranges.items():
        seen = f"{len(examples):,} examples"
        expected = recorded.get(part)
        found.append(
            Check(part, seen, f"{expected:,}" if expected else "", expected is None or expected == len(examples))
        )
    lengths = np.diff(corpus.offsets)
    for part, examples in ranges.items():
        counts = np.bincount(corpus.labels[examples], minlength=task.spec.classes)
        expected = facts.labels.get(part) if facts else None
        found.append(
            Check(
                f"{part}: labels",
                _numbers(counts),
                _numbers(expected) if expected else "",
                expected is None or tuple(counts.tolist()) == expected,
            )
        )
        if task.spec.kind == "tokens":
            quantiles = np.quantile(lengths[np.unique(corpus.documents[examples])], QUANTILES, method="nearest")
            found.append(Check(f"{part}: lengths", _numbers(quantiles.astype(int))))
    if facts and facts.sample:
        found += share_checks(facts.sample, corpus.labels, lengths[corpus.documents[:, 0]], task.spec.classes)
    found += _duplicates(task, corpus, work)
    found += task.checks(corpus, work)
    found.append(_majority(task, corpus))
    name = f"{task.data_name}-{corpus.vocabulary.unit}"
    if facts and name in facts.checksums:
        expected = facts.checksums[name]
        found.append(Check("checksum", checksum[:16], expected[:16], checksum == expected))
    return found


def shared_examples(contents: np.ndarray, ranges: dict[str, np.ndarray]) -> dict[tuple[str, str], int]:
    """Distinct examples, labels aside, that stand in both of two splits; for a split with itself, its duplicates.

    Args:
        contents: (n,) a number for each example, equal where the documents are equal.
        ranges: example indices of each split.
    """
    of_split = {name: contents[examples] for name, examples in ranges.items()}
    again = {(name, name): len(of) - len(np.unique(of)) for name, of in of_split.items()}
    return again | {(a, b): len(np.intersect1d(of_split[a], of_split[b])) for a, b in combinations(of_split, 2)}


def _duplicates(task: Task, corpus: Corpus, work: Work) -> list[Check]:
    facts = task.facts.get(corpus.kind)
    recorded = facts.shared if facts else {}
    contents = contents_of(corpus, work)
    # The parts of the source first: they are what the records of others speak of.
    counts = shared_examples(contents, corpus.ranges())
    counts |= shared_examples(contents, task.splits(corpus, "strict")) | counts
    found = []
    for (a, b), count in counts.items():
        expected = recorded.get((a, b))
        name = f"{a}: duplicate examples" if a == b else f"in both {a} and {b}"
        found.append(Check(name, f"{count:,}", "" if expected is None else f"{expected:,}", expected in (None, count)))
    return found


def _majority(task: Task, corpus: Corpus) -> Check:
    """What always giving the class most frequent in training scores on the test split."""
    splits = task.splits(corpus, "strict")
    train, test = (np.bincount(corpus.labels[splits[name]], minlength=task.spec.classes) for name in ("train", "test"))
    return Check("shortcut: one class always", f"{test[train.argmax()] / max(test.sum(), 1):.1%} of test")


def contents_of(corpus: Corpus, work: Work) -> np.ndarray:
    """A number for each example, equal where all documents are equal, token for token."""
    numbers: dict[bytes, int] = {}
    documents = np.empty(len(corpus.offsets) - 1, np.int64)
    offsets = corpus.offsets.tolist()
    with work.bar(f"{corpus.identity}: looking for duplicates", len(documents)) as advance:
        for first in range(0, len(documents), _DOCUMENTS_AT_ONCE):
            last = min(first + _DOCUMENTS_AT_ONCE, len(documents))
            piece = np.ascontiguousarray(corpus.values[offsets[first] : offsets[last]])
            for i in range(first, last):
                document = piece[offsets[i] - offsets[first] : offsets[i + 1] - offsets[first]]
                digest = hashlib.blake2b(document.data, digest_size=_DIGEST_BYTES).digest()
                documents[i] = numbers.setdefault(digest, len(numbers))
            advance(last - first)
    return np.unique(documents[corpus.documents], axis=0, return_inverse=True)[1].reshape(-1)


def _numbers(values) -> str:
    return " ".join(f"{int(value):,}" for value in values)
