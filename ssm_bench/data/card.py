"""The data card: what a set of arrays is, in plain JSON."""

import hashlib

import numpy as np

from ssm_bench.data.corpus import Corpus
from ssm_bench.data.task import Task

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

#: The arrays of a corpus, by name, in the order of the checksum.
ARRAYS = ("values", "offsets", "documents", "labels")


def array_facts(array: np.ndarray) -> dict:
    """dtype, shape and SHA-256 of an array's contents."""
    digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}


def checksum(arrays: dict[str, dict]) -> str:
    """One SHA-256 over the facts of all arrays: equal exactly where every array is equal."""
    lines = [f"{name} {arrays[name]['dtype']} {arrays[name]['shape']} {arrays[name]['sha256']}\n" for name in ARRAYS]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def new_card(task: Task, corpus: Corpus, max_length: int) -> dict:
    """The part of the card that depends on the data alone."""
    arrays = {name: array_facts(getattr(corpus, name)) for name in ARRAYS}
    vocabulary = corpus.vocabulary
    return {
        "task": task.data_name,
        "identity": corpus.identity,
        "kind": corpus.kind,
        "source": corpus.source,
        "tokens": vocabulary.unit,
        "max_length": max_length,
        "parts": corpus.parts,
        "documents": len(corpus.offsets) - 1,
        "checksum": checksum(arrays),
        "arrays": arrays,
        "vocabulary": list(vocabulary.tokens),
        "vocabulary_sha256": hashlib.sha256("\n".join(vocabulary.tokens).encode("utf-8", "surrogatepass")).hexdigest(),
        "license": task.license,
        "citation": task.citation,
        "notes": corpus.notes,
    }


def describe_splits(corpus: Corpus, splits: dict[str, np.ndarray], classes: int) -> dict:
    """Counts, label histograms and document lengths of each split."""
    lengths = np.diff(corpus.offsets)
    facts: dict = {"counts": {}, "labels": {}, "lengths": {}}
    for name, examples in splits.items():
        facts["counts"][name] = len(examples)
        facts["labels"][name] = np.bincount(corpus.labels[examples], minlength=classes).tolist()
        of_split = lengths[np.unique(corpus.documents[examples])]
        quantiles = np.quantile(of_split, QUANTILES, method="nearest").tolist() if len(of_split) else []
        facts["lengths"][name] = {f"{q:g}": int(v) for q, v in zip(QUANTILES, quantiles, strict=False)}
    return facts
