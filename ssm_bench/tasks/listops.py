"""ListOps: the value of a nested list expression.

The generator follows the procedure of the Long Range Arena (lra_benchmarks/data/listops.py, after N. Nangia and
S. Bowman, ListOps, 2018), except that it is seeded: attempt i draws from its own generator, seeded with i, so the
set does not depend on how many processes made it.
"""

import random
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_bench.data import raw, synthetic
from ssm_bench.data.corpus import END, SPECIAL_TOKENS, Corpus, Vocabulary, offsets_of, single_documents
from ssm_bench.data.facts import Check, Facts, Sample
from ssm_bench.data.task import RawFiles, Task, TaskSpec
from ssm_bench.data.work import Work, batches
from ssm_bench.errors import UserError
from ssm_bench.tasks._listops_evaluator import wrong_answers

#: The 15 words by falling frequency in generated expressions, ties by name: the S4 and S5 order. Fixed, so that an id
#: means the same in every set.
VOCABULARY = Vocabulary("words", (*SPECIAL_TOKENS, "]", *"0123456789", "[MAX", "[MED", "[MIN", "[SM"))

CLOSE = VOCABULARY.tokens.index("]")
ZERO = VOCABULARY.tokens.index("0")
FIRST_OPERATOR = VOCABULARY.tokens.index("[MAX")

MAX_DEPTH = 10
MAX_ARGUMENTS = 10
#: Lengths kept, without round brackets and without the end token.
SHORTEST, LONGEST = 501, 1999
OPERATOR_SHARE = 0.25

#: Examples of each part of the released files.
COUNTS = {"train": 96_000, "validation": 2_000, "test": 2_000}

#: Examples of each part of the generated set. An accuracy near 60 % has a standard error of 1.1 points on 2,000 test
#: examples and of 0.35 points on 20,000.
GENERATED_COUNTS = {"train": 96_000, "validation": 4_000, "test": 20_000}

#: The seed of the generated training and validation examples. They are the 100,000 examples of the first version of
#: this set: its training examples, then its 2,000 validation and 2,000 test examples.
SEED = 0

#: The seed of the generated test examples.
TEST_SEED = 1

#: The name of the generated set. The first version, "ListOps (generated, seed 0)", had 2,000 test examples.
GENERATED_IDENTITY = f"ListOps (generated v2, seed {SEED})"

#: What a toy learns from: the task itself, small.
SHORT_IDENTITY = "synthetic ListOps (short expressions, never cut)"

#: Measured on 20,000 expressions of an independent implementation of the procedure; lengths with the end token.
SAMPLE = Sample(
    20_000,
    labels=(0.168, 0.093, 0.073, 0.082, 0.089, 0.088, 0.077, 0.075, 0.085, 0.170),
    lengths={0.05: 540, 0.25: 702, 0.5: 954, 0.75: 1310, 0.95: 1805},
)

#: Of the arrays of the generated set.
CHECKSUM = "89286f0a97bc25b8b7b7afce00b75b6c3fcf36387f9b0a330dc5dfa833ee99a5"

_ATTEMPTS_AT_ONCE = 20_000
_ANSWERS_AT_ONCE = 1000
_FILES = tuple(f"listops-1000/basic_{part}.tsv" for part in ("train", "val", "test"))
_HEADER = "Source\tTarget"
_WITHOUT_ROUND_BRACKETS = str.maketrans("()", "  ")


def median(arguments: list[int]) -> int:
    """The middle value; for an even count the mean of the two middle ones, rounded down."""
    arguments = sorted(arguments)
    half = len(arguments) // 2
    return arguments[half] if len(arguments) % 2 else (arguments[half - 1] + arguments[half]) // 2


def sum_modulo(arguments: list[int]) -> int:
    """The sum modulo 10."""
    return sum(arguments) % 10


OPERATORS: tuple[Callable[[list[int]], int], ...] = (max, median, min, sum_modulo)


class _TooLong(Exception):
    pass


def expression(
    seed: int, attempt: int, *, max_depth: int = MAX_DEPTH, shortest: int = SHORTEST, longest: int = LONGEST
) -> tuple[bytes, int] | None:
    """Draws one expression.

    Args:
        seed: of the set, 0 or more.
        attempt: number of the draw, 0 or more; it alone decides what this call returns.
        max_depth: depth at which everything is a digit; the root has depth 1.
        shortest: fewest tokens kept.
        longest: most tokens kept.

    Returns:
        The token ids (without the end token) and the value, 0..9; None where the draw has another length.
    """
    # Only random() is used: its stream is the one that Python promises never to change.
    draw = random.Random((seed << 64) + attempt).random
    tokens: list[int] = []

    def grow(depth: int) -> int:
        if depth == max_depth or draw() > OPERATOR_SHARE:
            digit = int(draw() * 10)
            tokens.append(ZERO + digit)
            return digit
        if len(tokens) > longest:
            raise _TooLong
        place = len(tokens)
        tokens.append(CLOSE)
        arguments = [grow(depth + 1) for _ in range(2 + int(draw() * (MAX_ARGUMENTS - 1)))]
        operator = int(draw() * len(OPERATORS))
        tokens[place] = FIRST_OPERATOR + operator
        tokens.append(CLOSE)
        return OPERATORS[operator](arguments)

    try:
        value = grow(1)
    except _TooLong:
        return None
    return (bytes(tokens), value) if shortest <= len(tokens) <= longest else None


def generate(counts: dict[str, int], work: Work) -> Corpus:
    """Draws distinct expressions in the order of the attempts: the test part with `TEST_SEED`, the rest with `SEED`.

    Args:
        counts: examples of each part.
        work: the number of workers does not change the result.
    """
    total = sum(counts.values())
    found: dict[bytes, int] = {}
    with work.bar("ListOps: generating", total) as advance:
        _fill(found, SEED, total - counts["test"], work, advance)
        _fill(found, TEST_SEED, total, work, advance)
    rows, labels = list(found), list(found.values())
    return _corpus(rows, labels, counts, GENERATED_IDENTITY, "generated", "generator of this package")


def _fill(found: dict[bytes, int], seed: int, total: int, work: Work, advance: Callable[[int], None]) -> None:
    """Adds the expressions of a seed, in the order of the attempts, until there are `total` distinct ones."""
    for drawn in work.map(partial(_draw, seed), count(0, _ATTEMPTS_AT_ONCE)):
        before = len(found)
        for tokens, value in drawn:
            if len(found) == total:
                break
            found.setdefault(tokens, value)
        advance(len(found) - before)
        if len(found) == total:
            return


def _draw(seed: int, first: int) -> list[tuple[bytes, int]]:
    attempts = (expression(seed, attempt) for attempt in range(first, first + _ATTEMPTS_AT_ONCE))
    return [drawn for drawn in attempts if drawn]


def read_tsv(paths: list[Path], tokens: str, work: Work) -> Corpus:
    """The files of the Long Range Arena: a header, then expression, tab, value.

    Raises:
        UserError: a file is no such file; the sentence names the line.
    """
    rows: list[bytes] = []
    labels: list[int] = []
    counts = {}
    for part, path in zip(COUNTS, paths, strict=True):
        before = len(rows)
        with raw.reading(path, "ListOps file"), path.open(encoding="utf-8", newline="\n") as lines:
            if next(lines, "").rstrip("\r\n") != _HEADER:
                raise UserError(f"{path} is no ListOps file: its first line is not {_HEADER!r}")
            for number, line in enumerate(work.track(list(lines), f"ListOps: reading {path.name}"), start=2):
                row, label = _parse(line, f"{path}, line {number}")
                rows.append(row)
                labels.append(label)
        counts[part] = len(rows) - before
        if not counts[part]:
            raise UserError(f"{path} holds no expression")
    released = counts == COUNTS
    identity = "ListOps (LRA release)" if released else f"ListOps (files with {counts['train']:,} training examples)"
    return _corpus(
        rows, labels, counts, identity, "official" if released else "rebuilt", ", ".join(path.name for path in paths)
    )


def _parse(line: str, place: str) -> tuple[bytes, int]:
    if not line.endswith("\n"):
        raise UserError(f"{place}: the file ends in the middle of a line; fetch it again")
    source, _, target = line.rstrip("\r\n").partition("\t")
    words = source.translate(_WITHOUT_ROUND_BRACKETS).split()
    try:
        row = bytes([_IDS[word] for word in words])
    except KeyError as error:
        raise UserError(f"{place}: unknown word {error.args[0]!r}; allowed: {' '.join(_IDS)}") from None
    if len(target) != 1 or target not in "0123456789" or not row:
        raise UserError(f"{place}: needs an expression, a tab and a value from 0 to 9, not the value {target[:20]!r}")
    if len(row) >= ListOps.spec.max_length:
        raise UserError(f"{place}: {len(row)} words are more than the {ListOps.spec.max_length - 1} of the task")
    return row, int(target)


_IDS = {word: i for i, word in enumerate(VOCABULARY.tokens) if i >= len(SPECIAL_TOKENS)}


def _corpus(
    rows: list[bytes], labels: list[int], counts: dict[str, int], identity: str, kind: str, source: str
) -> Corpus:
    end = bytes([END])
    return Corpus(
        values=np.frombuffer(b"".join(row + end for row in rows), np.uint8),
        offsets=offsets_of([len(row) + 1 for row in rows]),
        documents=single_documents(len(rows)),
        labels=np.asarray(labels, np.int32),
        parts=dict(counts),
        vocabulary=VOCABULARY,
        identity=identity,
        kind=kind,
        source=source,
    )


def first_word_accuracy(corpus: Corpus) -> float:
    """Accuracy on the test part of the value most frequent, in training, after the first word of the expression."""
    parts = corpus.ranges()
    first = corpus.values[corpus.offsets[:-1]]
    seen = np.zeros((len(VOCABULARY.tokens), ListOps.spec.classes), np.int64)
    np.add.at(seen, (first[parts["train"]], corpus.labels[parts["train"]]), 1)
    return float((seen.argmax(1)[first[parts["test"]]] == corpus.labels[parts["test"]]).mean())


class ListOps(Task):
    """Expressions of MAX, MED, MIN and SM (sum modulo 10) over digits, nested up to nine deep; ten classes."""

    spec = TaskSpec("listops", "ListOps", classes=10, kind="tokens", max_length=2048)
    can_be_cut = False
    tokenizations = ("words",)
    fetch_kind = "generated"
    fetch_identity = GENERATED_IDENTITY
    citation = "N. Nangia and S. Bowman, ListOps: A Diagnostic Dataset for Latent Tree Learning, NAACL SRW 2018"
    bibtex = """@inproceedings{nangia2018listops,
  title = {{ListOps}: A Diagnostic Dataset for Latent Tree Learning},
  author = {Nangia, Nikita and Bowman, Samuel R.},
  booktitle = {NAACL Student Research Workshop},
  year = {2018}
}"""
    license = "generated; Apache-2.0 for the files of the Long Range Arena"
    wanted = (
        "put listops-1000/basic_train.tsv, basic_val.tsv and basic_test.tsv into the folder that SSM_BENCH_RAW names"
    )

    facts: ClassVar = {
        "official": Facts("the defaults of LRA's generator, and a sample of it", COUNTS, sample=SAMPLE),
        "generated": Facts(
            "the defaults of LRA's generator, a sample of it, and an earlier run of this one",
            GENERATED_COUNTS,
            sample=SAMPLE,
            shared={("train", "validation"): 0, ("train", "test"): 0, ("validation", "test"): 0},
            checksums={"listops-words": CHECKSUM},
        ),
    }

    def raw_files(self) -> tuple[RawFiles, ...]:
        """The files of the release, in its folder listops-1000 or not."""
        bare = tuple(Path(name).name for name in _FILES)
        return (RawFiles(_FILES, "official", read_tsv), RawFiles(bare, "official", read_tsv))

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Generates the set with the default seeds."""
        return generate(GENERATED_COUNTS, work)

    def checks(self, corpus: Corpus, work: Work) -> list[Check]:
        """Every answer, by an evaluator that shares nothing with the generator."""
        offsets = corpus.offsets.tolist()
        examples = (
            ([corpus.values[offsets[i] : offsets[i + 1] - 1].tobytes() for i in chunk], corpus.labels[chunk].tolist())
            for chunk in batches(range(len(corpus.labels)), _ANSWERS_AT_ONCE)
        )
        wrong, left = 0, len(corpus.labels)
        with work.bar("ListOps: evaluating", left) as advance:
            for found in work.map(partial(wrong_answers, corpus.vocabulary.tokens), examples):
                wrong += found
                advance(min(_ANSWERS_AT_ONCE, left))
                left -= _ANSWERS_AT_ONCE
        return [
            Check("wrong answers", f"{wrong:,}", "0", wrong == 0),
            Check("shortcut: first word", f"{first_word_accuracy(corpus):.1%} of test"),
        ]

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """True expressions that fit, nested at most once, so that a small model learns something in seconds."""
        labels = synthetic.balanced_labels(counts, self.spec.classes, np.random.default_rng(seed))
        quota = np.bincount(labels, minlength=self.spec.classes)
        found = _short_expressions(seed, min(max_length - 1, 60), quota.tolist())
        rows = [found[label].pop() + bytes([END]) for label in labels.tolist()]
        values = np.frombuffer(b"".join(rows), np.uint8)
        offsets = offsets_of([len(row) for row in rows])
        return synthetic.corpus(
            values, offsets, single_documents(len(rows)), labels, counts, VOCABULARY, SHORT_IDENTITY
        )


def _short_expressions(seed: int, longest: int, quota: list[int]) -> list[list[bytes]]:
    """As many expressions of each value as `quota` asks for."""
    found: list[list[bytes]] = [[] for _ in quota]
    missing = sum(quota)
    attempts = count()
    while missing:
        drawn = expression(seed, next(attempts), max_depth=3, shortest=4, longest=longest)
        if drawn and len(found[drawn[1]]) < quota[drawn[1]]:
            found[drawn[1]].append(drawn[0])
            missing -= 1
    return found
