"""Text: is a film review of IMDb positive or negative, read character by character (or byte by byte)."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_bench.data import download, raw, splits, synthetic
from ssm_bench.data.corpus import Corpus, encode_texts, single_documents
from ssm_bench.data.facts import Facts
from ssm_bench.data.task import RawFiles, Task, TaskSpec
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

#: Reviews in each part, half of them positive.
REVIEWS = {"train": 25_000, "test": 25_000}

#: UTF-8 bytes of all reviews of each part, as in the published data set: with the counts, the mark of the true set.
TEXT_BYTES = {"train": 33_132_823, "test": 32_350_685}

#: Of the prepared arrays, by tokenization: every form of the true set gives the same.
CHECKSUMS = {
    "text-characters": "7f7dab89816f434b29dce9bb900d363c9b513992eaeadd3d36ae77894785b927",
    "text-bytes": "65233469edb81ab7c8d9dd3d495463b656b043f982706352a7d30d4267be7216",
}

ARCHIVE = "aclImdb_v1.tar.gz"
ARCHIVE_SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"

#: A character seen less often in the training reviews is unknown (S4).
MIN_FREQUENCY = 15

#: Share of the official training reviews held out for validation under the strict protocol.
VALIDATION_SHARE = 0.1

_POSITIVE, _NEGATIVE = 1, 0
_FOLDERS = {"pos": _POSITIVE, "neg": _NEGATIVE}
_REVIEW = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d+)_\d+\.txt$")


_LABELS = {part: (count // 2, count // 2) for part, count in REVIEWS.items()}


@dataclass(frozen=True)
class _Review:
    part: str
    label: int
    number: int
    text: str


def read_folder(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """The unpacked folder aclImdb."""
    root = paths[0].parents[1]
    with raw.reading(root, "copy of the IMDb reviews"):
        # Opening a named pipe would wait for its other end.
        files = ((path.as_posix(), path.read_bytes) for path in root.glob("*/*/*.txt") if path.is_file())
        return _corpus(_official(files), root, tokens, work)


def read_archive(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """The official archive aclImdb_v1.tar.gz."""
    (path,) = paths
    with raw.reading(path, "archive of the IMDb reviews"):
        with path.open("rb") as file:
            as_published = hashlib.file_digest(file, "sha256").hexdigest() == ARCHIVE_SHA256
        if not as_published:
            work.say(f"{path} is not the published archive: its SHA-256 is another; reading it all the same")
        with raw.tar_gz(path) as archive:
            files = ((member.name, partial(raw.content, archive, member)) for member in archive)
            return _corpus(_official(files), path, tokens, work, archive_as_published=as_published)


def read_lines(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """imdb.jsonl.xz: one object with split, label, id and text a line."""
    (path,) = paths
    with raw.reading(path, "file of the IMDb reviews"):
        return _corpus(map(_from_line, raw.xz_lines(path)), path, tokens, work)


def read_tfds(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """What TFDS's own builder prepared: no file names, so in its order, and without white space at the ends."""
    source = paths[0].parent
    examples = download.prepared_examples(source, REVIEWS, "Text", work)
    found = (_Review(part, int(row["label"]), number, row["text"].decode("utf-8")) for part, number, row in examples)
    corpus = _corpus(found, source, tokens, work)
    return replace(
        corpus, identity="IMDb (TFDS imdb_reviews, white space stripped)", kind="rebuilt", source="imdb_reviews"
    )


def _official(files: Iterable[tuple[str, Callable[[], bytes]]]) -> Iterator[_Review]:
    """The labeled reviews among the official files, given by name and a way to read them."""
    for name, content in files:
        match = _REVIEW.search(name)
        if match:
            part, folder, number = match.groups()
            yield _Review(part, _FOLDERS[folder], int(number), content().decode("utf-8"))


def _from_line(line: str) -> _Review:
    row = json.loads(line)
    part, label, number, text = (row[name] for name in ("split", "label", "id", "text"))
    if type(label) is not int or label not in _FOLDERS.values():
        raise ValueError(f"label {str(label)[:20]!r} is neither 0 nor 1")
    if part not in REVIEWS or type(number) is not int or not isinstance(text, str):
        raise ValueError(f"a line needs a split ({' or '.join(REVIEWS)}), a number as id and a text")
    return _Review(part, label, number, text)


def _corpus(found: Iterable[_Review], source: Path, tokens: str, work: Work, **notes) -> Corpus:
    reviews = []
    with work.bar(f"Text: reading {source.name}", sum(REVIEWS.values())) as advance:
        for review in found:
            reviews.append(review)
            advance(1)
    # The same order whatever the source: parts, positive ones first, then the number in the official file name.
    reviews.sort(key=lambda review: (list(REVIEWS).index(review.part), -review.label, review.number))
    texts = {part: [review.text for review in reviews if review.part == part] for part in REVIEWS}
    counts = {part: len(of_part) for part, of_part in texts.items()}
    labels = np.asarray([review.label for review in reviews], np.int32)
    if counts != REVIEWS or 2 * labels.sum() != len(labels):
        raise UserError(
            f"{source} holds {counts['train']:,} training and {counts['test']:,} test reviews, {labels.sum():,} of all "
            f"positive; it should hold {REVIEWS['train']:,} and {REVIEWS['test']:,}, half of them positive"
        )
    true = {part: sum(len(text.encode()) for text in of_part) for part, of_part in texts.items()} == TEXT_BYTES
    if not true:
        work.say(f"{source}: the number of reviews is right, but their text is not that of aclImdb v1")
    limit = Text.spec.max_length
    flat = [text for of_part in texts.values() for text in of_part]
    training = np.arange(len(flat)) < counts["train"]
    values, offsets, vocabulary = encode_texts(flat, limit, tokens, training=training, min_frequency=MIN_FREQUENCY)
    return Corpus(
        values,
        offsets,
        single_documents(len(flat)),
        labels,
        counts,
        vocabulary,
        identity="IMDb (aclImdb v1)" if true else "IMDb (altered copy of aclImdb v1)",
        kind="official" if true else "rebuilt",
        source=source.name,
        notes={"documents_of_full_length": int((np.diff(offsets) == limit).sum()), **notes},
    )


class Text(Task):
    """IMDb reviews, two classes; label 1 is positive."""

    spec = TaskSpec("text", "Text", classes=2, kind="tokens", max_length=4096)
    tokenizations = ("characters", "bytes")
    fetch_kind = "official"
    citation = "A. Maas et al., Learning Word Vectors for Sentiment Analysis, ACL 2011"
    bibtex = """@inproceedings{maas2011learning,
  title = {Learning Word Vectors for Sentiment Analysis},
  author = {Maas, Andrew L. and Daly, Raymond E. and Pham, Peter T. and Huang, Dan and Ng, Andrew Y. and
            Potts, Christopher},
  booktitle = {Annual Meeting of the Association for Computational Linguistics},
  year = {2011}
}"""
    license = "none stated by the authors; offered for research"
    wanted = f"put {ARCHIVE}, or the folder aclImdb it unpacks to, into the folder that SSM_BENCH_RAW names"

    facts: ClassVar = {
        "official": Facts(
            "the published data set",
            REVIEWS,
            labels=_LABELS,
            shared={("train", "train"): 96, ("test", "test"): 199, ("train", "test"): 123},
            checksums=CHECKSUMS,
        ),
        "rebuilt": Facts("the published data set", REVIEWS, labels=_LABELS),
    }

    def raw_files(self) -> tuple[RawFiles, ...]:
        """The unpacked folder, the archive, one compressed file of lines, or what TFDS prepared."""
        return (
            RawFiles(("aclImdb/train/pos", "aclImdb/test/neg"), "official", read_folder),
            RawFiles((ARCHIVE,), "official", read_archive),
            RawFiles(("imdb.jsonl.xz",), "official", read_lines),
            RawFiles(("imdb_reviews/plain_text/1.0.0/dataset_info.json",), "rebuilt", read_tfds),
        )

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Downloads the official archive."""
        return read_archive([download.archive("imdb_reviews", ARCHIVE, self.wanted, work)], tokens, work)

    def splits(self, corpus: Corpus, protocol: str) -> dict[str, np.ndarray]:
        """Strict: a tenth of train held out. Paper, LRA: the test set is the validation set, as everyone published."""
        parts = corpus.ranges()
        train, test = parts["train"], parts["test"]
        if protocol != "strict":
            return {"train": train, "validation": test, "test": test}
        held_out = int(VALIDATION_SHARE * len(train))
        return {**splits.held_out(train, {"train": len(train) - held_out, "validation": held_out}), "test": test}

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Texts with words that reveal the class."""
        return synthetic.reviews(max_length, tokens, counts, seed)
