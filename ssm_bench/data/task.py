"""What a task module provides: one final subclass of `Task`."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ssm_bench.data.corpus import Corpus
from ssm_bench.data.facts import Check, Facts
from ssm_bench.data.work import Work

#: The suites of tasks that this project has: the columns of the comparison table, and generated probes of one ability.
LRA, PROBE = "lra", "probe"


@dataclass(frozen=True)
class TaskSpec:
    """What a model has to know of a task; no data are touched to answer it.

    Attributes:
        name: the task's module name, as on the command line.
        title: the column title of the comparison table.
        classes: number of labels.
        kind: "tokens" (ids, 0 is padding) or "pixels" (gray levels 0..255, never padded).
        max_length: longest document in tokens, end token included (the S4 and S5 convention).
        documents: documents per example, 1 or 2.
        pixel_mean: what to subtract from a gray level, 0..255.
        pixel_std: what to divide it by afterwards, 0..255.
        suite: the tasks that it is compared with. Tasks of suite "lra" are columns of the comparison table and part of
            a default sweep, those of plug-ins included. Runs on any other suite, such as "probe", have tables of their
            own, and a sweep includes them only by name.
    """

    name: str
    title: str
    classes: int
    kind: str
    max_length: int
    documents: int = 1
    pixel_mean: float = 0.0
    pixel_std: float = 1.0
    suite: str = LRA


@dataclass(frozen=True)
class RawFiles:
    """One form in which a task's data may lie in the user's folder.

    Attributes:
        names: paths relative to the folder, all of which must be there.
        kind: "official" or "rebuilt"; official forms are preferred.
        read: (paths, tokens, work) -> Corpus; any error a broken file can cause may escape from it.
    """

    names: tuple[str, ...]
    kind: str
    read: Callable[[list[Path], str, Work], Corpus]


class Task(abc.ABC):
    """One task of the benchmark: where its data come from and how they are split.

    A task is a module of `ssm_bench.tasks` with one final subclass of this class.

    Args:
        variant: one of `variants`, or "" for the task itself.
    """

    spec: TaskSpec
    #: Other sets that the task offers: `--task pathfinder-64-easy` is variant "64-easy" of pathfinder.
    variants: ClassVar[tuple[str, ...]] = ()
    #: Whether an example keeps its label when it is cut: the answer of an expression or a contour needs all of it.
    can_be_cut: ClassVar[bool] = True
    #: The tokenizations offered, the default first; a task with only one takes it whatever the caller asks for.
    tokenizations: ClassVar[tuple[str, ...]]
    #: The paper to cite: in words, and as the one BibTeX entry for the BibTeX file of a table.
    citation: ClassVar[str]
    bibtex: ClassVar[str]
    #: What is known of the license.
    license: ClassVar[str]
    #: What to fetch and where to put it, as the end of a sentence.
    wanted: ClassVar[str]
    #: The kind of what `fetch` downloads ("official") or makes ("generated"); None where it can do neither.
    fetch_kind: ClassVar[str | None] = None
    #: The identity of what `fetch` gives; a prepared set of that kind with another identity is outdated. Empty where
    #: every version of the package gives the same set.
    fetch_identity: ClassVar[str] = ""
    #: What is known of the data, by kind of source.
    facts: ClassVar[Mapping[str, Facts]] = {}

    def __init__(self, variant: str = ""):
        self.variant = variant

    @property
    def data_name(self) -> str:
        """Name of the data in the cache: two tasks that share data share the name."""
        return self.spec.name

    def raw_files(self) -> tuple[RawFiles, ...]:
        """The forms that can be read, the most official first."""
        return ()

    def fetch(self, tokens: str, work: Work) -> Corpus:
        """Downloads or generates the data; called only where `fetch_kind` says that it can.

        Raises:
            UserError: it did not work; the sentence says what to fetch by hand.
        """
        raise NotImplementedError(f"{self.spec.name} has nothing to fetch")

    def splits(self, corpus: Corpus, protocol: str) -> dict[str, np.ndarray]:
        """Makes train, validation and test of the parts of the source: the indices of their examples.

        Args:
            corpus: the data.
            protocol: "strict" (validation held out of train), "paper" (as published) or "lra" (as LRA's own code).
        """
        return corpus.ranges()

    def checks(self, corpus: Corpus, work: Work) -> list[Check]:
        """What only this task can check or measure of its prepared data, such as the answers or a shortcut."""
        return []

    @abc.abstractmethod
    def synthetic(self, max_length: int, tokens: str, counts: dict[str, int], seed: int) -> Corpus:
        """A small stand-in with the same shape of examples, learnable in seconds.

        Args:
            max_length: longest document, 16 or more.
            tokens: one of `tokenizations`.
            counts: examples of each split; the labels of each are balanced.
            seed: of every random choice.
        """

    def tokens(self, asked: str) -> str:
        """The tokenization used when `asked` is asked for."""
        return asked if asked in self.tokenizations else self.tokenizations[0]
