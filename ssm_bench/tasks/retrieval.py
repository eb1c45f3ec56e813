"""Retrieval: does one paper of the ACL Anthology Network cite the other, judged from their texts alone."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_bench.data import raw, synthetic
from ssm_bench.data.corpus import Corpus, encode_texts
from ssm_bench.data.facts import Check, Facts
from ssm_bench.data.task import RawFiles, Task, TaskSpec
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

#: Pairs of each part in the released files.
PAIRS = {"train": 147_086, "validation": 18_090, "test": 17_437}

_PARTS = {"train": "train", "validation": "eval", "test": "test"}
_FILES = tuple(f"tsv_data/new_aan_pairs.{name}.tsv" for name in _PARTS.values())
_COLUMNS = 5


def read_tsv(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """The files of the Long Range Arena: label, two paper ids, two texts, between tabs, quotes not special.

    Raises:
        UserError: a file is no such file; the sentence names the line.
    """
    # Each text once, whatever id it came with; of a text only what can become a token.
    numbers: dict[str, int] = {}
    labels: list[int] = []
    pairs: list[tuple[int, int]] = []
    counts = {}
    for part, path in zip(_PARTS, paths, strict=True):
        before = len(labels)
        with (
            raw.reading(path, "file of AAN pairs"),
            path.open(encoding="utf-8", newline="\n") as lines,
            work.bar(f"Retrieval: reading {path.name}", PAIRS[part]) as advance,
        ):
            for number, line in enumerate(lines, start=1):
                label, first, second = _parse(line, f"{path}, line {number}")
                labels.append(label)
                pairs.append((numbers.setdefault(first, len(numbers)), numbers.setdefault(second, len(numbers))))
                advance(1)
        counts[part] = len(labels) - before
        if not counts[part]:
            raise UserError(f"{path} holds no pair")
    released = counts == PAIRS
    identity = "AAN (LRA release)" if released else f"AAN (files with {counts['train']:,} training pairs)"
    kind = "official" if released else "rebuilt"
    documents = np.asarray(pairs, np.int32)
    return _corpus(list(numbers), documents, labels, counts, tokens, identity, kind, paths)


def _parse(line: str, place: str) -> tuple[int, str, str]:
    if not line.endswith("\n"):
        raise UserError(f"{place}: the file ends in the middle of a line; fetch it again")
    columns = line.rstrip("\r\n").split("\t")
    if len(columns) != _COLUMNS:
        raise UserError(f"{place}: has {len(columns)} columns between tabs; allowed: {_COLUMNS}")
    if columns[0] not in ("0", "1", "0.0", "1.0"):
        raise UserError(f"{place}: label {columns[0][:20]!r} must be 0 or 1")
    limit = Retrieval.spec.max_length
    return int(float(columns[0])), columns[3][:limit], columns[4][:limit]


def read_rebuilt(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """aan_docs.jsonl.xz and aan_pairs.npz: real papers and citations, but rebuilt pairs and splits."""
    texts_path, pairs_path = paths
    with raw.reading(texts_path, "file of AAN papers"):
        work.say(f"Retrieval: reading {texts_path.name}")
        texts = [json.loads(line)["text"] for line in raw.xz_lines(texts_path)]
        if wrong := [number for number, text in enumerate(texts) if not isinstance(text, str) or not text]:
            raise ValueError(f"the text of paper {wrong[0]} is {str(texts[wrong[0]])[:20]!r}")
    with raw.reading(pairs_path, "file of AAN pairs"):
        arrays = raw.npz(pairs_path)
        parts = {part: raw.integers(arrays[name], name, 2, 0, 2**31 - 1) for part, name in _PARTS.items()}
        if any(of_part.shape[1] != 3 or not len(of_part) for of_part in parts.values()):
            raise ValueError("a part holds no rows of label, first and second paper")
        rows = np.concatenate([of_part.astype(np.int64) for of_part in parts.values()])
    if rows[:, 1:].max() >= len(texts):
        raise UserError(f"{pairs_path} names paper {rows[:, 1:].max()}, but {texts_path} holds {len(texts):,} papers")
    if rows[:, 0].max() > 1:
        raise UserError(f"{pairs_path} has labels {rows[:, 0].min()}..{rows[:, 0].max()}; allowed: 0 and 1")
    used, documents = np.unique(rows[:, 1:], return_inverse=True)
    return _corpus(
        [texts[i] for i in used],
        documents.reshape(-1, 2).astype(np.int32),
        rows[:, 0],
        {part: len(of_part) for part, of_part in parts.items()},
        tokens,
        "AAN (rebuilt pairs)",
        "rebuilt",
        paths,
    )


def _corpus(
    texts: list[str],
    documents: np.ndarray,
    labels: list[int] | np.ndarray,
    counts: dict[str, int],
    tokens: str,
    identity: str,
    kind: str,
    source: list[Path],
) -> Corpus:
    training = np.zeros(len(texts), bool)
    training[documents[: counts["train"]]] = True
    limit = Retrieval.spec.max_length
    values, offsets, vocabulary = encode_texts(texts, limit, tokens, training=training)
    return Corpus(
        values,
        offsets,
        documents,
        np.asarray(labels, np.int32),
        counts,
        vocabulary,
        identity,
        kind,
        ", ".join(path.name for path in source),
        notes={"documents_of_full_length": int((np.diff(offsets) == limit).sum())},
    )


def popularity_accuracy(documents: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Accuracy on `test` of saying 1 where the second paper was cited in more than half of its training pairs."""
    second = documents[:, 1]
    papers = int(documents.max()) + 1
    cited = np.bincount(second[train], labels[train], papers)
    named = np.bincount(second[train], minlength=papers)
    return float(((2 * cited > named)[second[test]] == labels[test]).mean())


class Retrieval(Task):
    """Pairs of papers, two classes; label 1 is a citation."""

    spec = TaskSpec("retrieval", "Retrieval", classes=2, kind="tokens", max_length=4000, documents=2)
    tokenizations = ("characters", "bytes")
    citation = "D. Radev et al., The ACL Anthology Network Corpus, Language Resources and Evaluation, 2013"
    bibtex = """@article{radev2013acl,
  title = {The {ACL} {A}nthology Network Corpus},
  author = {Radev, Dragomir R. and Muthukrishnan, Pradeep and Qazvinian, Vahed and Abu-Jbara, Amjad},
  journal = {Language Resources and Evaluation},
  volume = {47},
  year = {2013}
}"""
    license = "ACL Anthology papers before 2016: CC BY-NC-SA 3.0"
    wanted = (
        "unpack lra_release.gz of the Long Range Arena (it holds tsv_data/new_aan_pairs.train.tsv) into the folder "
        "that SSM_BENCH_RAW names"
    )

    facts: ClassVar = {"official": Facts("the configuration of other programs that read the release", PAIRS)}

    def raw_files(self) -> tuple[RawFiles, ...]:
        """The files of the release, in its folder tsv_data or not, or the compact rebuilt set."""
        bare = tuple(Path(name).name for name in _FILES)
        return (
            RawFiles(_FILES, "official", read_tsv),
            RawFiles(bare, "official", read_tsv),
            RawFiles(("aan_docs.jsonl.xz", "aan_pairs.npz"), "rebuilt", read_rebuilt),
        )

    def checks(self, corpus: Corpus, work: Work) -> list[Check]:
        """How well the citation counts of the papers in the training pairs alone predict the label."""
        parts = corpus.ranges()
        train, test = parts["train"], parts["test"]
        of_train, of_test = (np.unique(corpus.documents[part]) for part in (train, test))
        known = len(np.intersect1d(of_train, of_test))
        return [
            Check("papers of test in train too", f"{known:,} of {len(of_test):,}"),
            Check(
                "shortcut: popularity",
                f"{popularity_accuracy(corpus.documents, corpus.labels, train, test):.1%} of test",
            ),
        ]

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Pairs of texts on the same topic or on two."""
        return synthetic.document_pairs(max_length, tokens, counts, seed)
