"""What the probes share: generated tasks that need one ability, posed as classification of a sequence.

Every example of a set has the same length, so the length says nothing about the label. The labels of each part are
balanced to within one example, and each probe draws its tokens so that counts and positions of tokens say nothing
either; its docstring states what does.
"""

import abc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np

from ssm_bench.data import synthetic
from ssm_bench.data.corpus import Corpus, Vocabulary, offsets_of, single_documents
from ssm_bench.data.facts import Facts
from ssm_bench.data.task import PROBE, Task, TaskSpec
from ssm_bench.data.work import Work

#: Examples of each part. At an accuracy of 50 %, 10,000 test examples have a standard error of 0.5 points.
COUNTS = {"train": 100_000, "validation": 5_000, "test": 10_000}

#: The seed of the generated sets; every 1,000 examples of a part draw from a stream of their own.
SEED = 0

#: A change of what a generator draws increases this number, which is a part of the identity of every set.
VERSION = 1

_EXAMPLES_AT_ONCE = 1000


def probe_spec(name: str, title: str, *, classes: int, length: int) -> TaskSpec:
    """The spec of a probe with sequences of `length` tokens."""
    return TaskSpec(name, title, classes=classes, kind="tokens", max_length=length, suite=PROBE)


def identity_of(title: str) -> str:
    """The identity of the generated sets of a probe."""
    return f"{title} (generated v{VERSION}, seed {SEED})"


def probe_facts(name: str, classes: int, checksum: str) -> dict[str, Facts]:
    """The facts of a probe: its counts, its balance, and the checksum of the set without a variant."""
    labels = {part: tuple(np.bincount(np.arange(count) % classes).tolist()) for part, count in COUNTS.items()}
    source = "the definition, and an earlier run"
    return {"generated": Facts(source, COUNTS, labels=labels, checksums={f"{name}-words": checksum})}


class Probe(Task):
    """A generated task; a subclass names its lengths and tokens and draws sequences for given labels.

    A variant is a length: `--task mqar-512`. A variant with the length of the task itself does not exist.
    """

    #: The token of each id; id 0 is padding, which no sequence contains.
    symbols: ClassVar[tuple[str, ...]]
    can_be_cut = False
    tokenizations = ("words",)
    fetch_kind = "generated"
    license = "generated"
    wanted = "generate it with `ssm-bench data prepare`"

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.title = self.spec.title
        if variant:
            name, title = f"{self.spec.name}-{variant}", f"{self.spec.title} {variant}"
            self.spec = replace(self.spec, name=name, title=title, max_length=int(variant))

    @staticmethod
    @abc.abstractmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """One sequence for each label.

        Args:
            labels: (n,) integers, 0..classes - 1.
            length: tokens of a sequence, 16 or more.
            random: the only source of chance. NumPy keeps the stream of this legacy class fixed in all versions.

        Returns:
            (n, length) token ids, 1 or more.
        """

    def generate(self, counts: dict[str, int], work: Work) -> Corpus:
        """The set of this task with the default seed; the number of workers does not change it."""
        chunks = [
            (place, start, min(start + _EXAMPLES_AT_ONCE, count))
            for place, count in enumerate(counts.values())
            for start in range(0, count, _EXAMPLES_AT_ONCE)
        ]
        length, classes = self.spec.max_length, self.spec.classes
        tokens = np.empty((sum(counts.values()), length), np.uint8)
        labels = np.empty(len(tokens), np.int32)
        done = 0
        with work.bar(f"{self.spec.title}: generating", len(tokens)) as advance:
            for drawn, answers in work.map(partial(_chunk, self.draw, length, classes), chunks):
                tokens[done : done + len(drawn)], labels[done : done + len(drawn)] = drawn, answers
                done += len(drawn)
                advance(len(drawn))
        source = f"generator of this package, set {self.spec.name}"
        return self._corpus(tokens, labels, counts, identity_of(self.title), "generated", source)

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Generates the set."""
        return self.generate(COUNTS, work)

    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """The task itself, with fewer examples of `max_length` tokens."""
        labels = synthetic.balanced_labels(counts, self.spec.classes, np.random.default_rng(seed))
        drawn = self.draw(labels, max_length, np.random.RandomState(seed))
        identity = f"synthetic {self.title} (short sequences, never cut)"
        return self._corpus(drawn.astype(np.uint8), labels, counts, identity, "synthetic", "generated")

    def _corpus(
        self, tokens: np.ndarray, labels: np.ndarray, counts: dict[str, int], identity: str, kind: str, source: str
    ) -> Corpus:
        return Corpus(
            values=tokens.reshape(-1),
            offsets=offsets_of(np.full(len(labels), tokens.shape[1])),
            documents=single_documents(len(labels)),
            labels=labels.astype(np.int32),
            parts=dict(counts),
            vocabulary=Vocabulary("words", ("<pad>", *self.symbols)),
            identity=identity,
            kind=kind,
            source=source,
        )


def _chunk(draw: Callable, length: int, classes: int, chunk: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences and labels of the examples `start` to `stop` of the part with the number `place`."""
    place, start, stop = chunk
    random = np.random.RandomState([SEED, place, start])
    labels = random.permutation(np.arange(start, stop) % classes)
    return draw(labels, length, random).astype(np.uint8), labels


def choices(random: np.random.RandomState, count: int, among: int, size: int) -> np.ndarray:
    """Draws without replacement for each of `count` examples: (count, size) integers, 0..among - 1, shuffled."""
    return random.rand(count, among).argsort(axis=1, kind="stable")[:, :size]


def evenly(random: np.random.RandomState, count: int, symbols: int, size: int) -> np.ndarray:
    """Shuffled rows in which each of the symbols 0..symbols - 1 occurs equally often, to within one.

    Which symbols occur once more is random.

    Returns:
        (count, size) integers.
    """
    names = choices(random, count, symbols, symbols)
    return np.take_along_axis(names, choices(random, count, size, size) % symbols, axis=1)
