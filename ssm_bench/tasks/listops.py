"""ListOps: the value of a nested list expression.

The generator follows the procedure of the Long Range Arena (lra_benchmarks/data/listops.py, after N. Nangia and
S. Bowman, ListOps, 2018), except that it is seeded: attempt i draws from its own generator, seeded with i, so the
set does not depend on how many processes made it.
"""

import random
from collections.abc import Callable, Iterator

import numpy as np

from ssm_bench.data import synthetic
from ssm_bench.data.corpus import END, SPECIAL_TOKENS, Corpus, Vocabulary, offsets_of, single_documents
from ssm_bench.data.task import Task, TaskSpec

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


class ListOps(Task):
    """Expressions of MAX, MED, MIN and SM (sum modulo 10) over digits, nested up to nine deep; ten classes."""

    spec = TaskSpec("listops", "ListOps", classes=10, kind="tokens", max_length=2048)
    tokenizations = ("words",)
    citation = "N. Nangia and S. Bowman, ListOps: A Diagnostic Dataset for Latent Tree Learning, NAACL SRW 2018"
    licence = "generated; Apache-2.0 for the files of the Long Range Arena"
    wanted = (
        "put listops-1000/basic_train.tsv, basic_val.tsv and basic_test.tsv into the folder that SSM_BENCH_RAW names"
    )

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """Flat and once nested expressions, so that a small model learns something in seconds."""
        labels = synthetic.balanced_labels(counts, self.spec.classes, np.random.default_rng(seed))
        quota = np.bincount(labels, minlength=self.spec.classes)
        found = _short_expressions(seed, min(max_length - 1, 60), quota.tolist())
        rows = [found[label].pop() + bytes([END]) for label in labels.tolist()]
        values = np.frombuffer(b"".join(rows), np.uint8)
        offsets = offsets_of([len(row) for row in rows])
        return synthetic.corpus(values, offsets, single_documents(len(rows)), labels, counts, VOCABULARY)


def _short_expressions(seed: int, longest: int, quota: list[int]) -> list[list[bytes]]:
    """As many expressions of each value as `quota` asks for."""
    found: list[list[bytes]] = [[] for _ in quota]
    missing = sum(quota)
    attempts: Iterator[int] = iter(range(1 << 62))
    while missing:
        drawn = expression(seed, next(attempts), max_depth=3, shortest=4, longest=longest)
        if drawn and len(found[drawn[1]]) < quota[drawn[1]]:
            found[drawn[1]].append(drawn[0])
            missing -= 1
    return found
