"""Opens a task's data: `spec` and `load`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ssm_bench import registry
from ssm_bench.data import cache, synthetic
from ssm_bench.data.card import describe_splits, new_card
from ssm_bench.data.corpus import PAD, Corpus
from ssm_bench.data.prepare import no_data, prepare
from ssm_bench.data.splits import subset
from ssm_bench.data.task import Task, TaskSpec
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError, unknown_name

DATA = ("auto", "real", "synthetic")
#: Name -> what a protocol does, as tables say it.
PROTOCOLS = {
    "strict": "validation is held out of the training set, test is scored once, padding never changes an output",
    "paper": "each family's published habits, such as selecting on the test set where its authors did",
    "lra": "the splits of the benchmark's own code, which on Text select on the test set, since its validation set is "
    "the test set; padding never changes an output",
}
TOKENS = ("characters", "bytes")

#: Fewest validation and test examples kept when the training set is reduced: fewer say nothing about accuracy.
_FEWEST_HELD_OUT = 64


def find(name: str) -> Task:
    """The task of that name, or the variant of a task: "pathfinder", "pathfinder-64-easy".

    Raises:
        UserError: there is none; the message lists the names.
    """
    task, _, variant = name.partition("-")
    if not variant or task not in registry.names("tasks"):
        return registry.subclass("tasks", name, Task)()
    found = registry.subclass("tasks", task, Task)
    if variant not in found.variants:
        raise unknown_name(f"variant of task {task}", name, [task, *(f"{task}-{known}" for known in found.variants)])
    return found(variant)


def tasks(names: Iterable[str] = (), *, suite: str = "") -> list[Task]:
    """The tasks of those names; without names, all.

    Args:
        names: of tasks and variants.
        suite: only the tasks of this suite (`TaskSpec.suite`); empty: of every suite.

    Raises:
        UserError: there is no task of one of the names.
    """
    found = [find(name) for name in names or registry.names("tasks")]
    return [task for task in found if suite in ("", task.spec.suite)]


def tasks_and_variants(names: Iterable[str] = ()) -> list[Task]:
    """The tasks of those names; without names, all, each with all of its variants, but no data twice.

    Raises:
        UserError: there is no task of one of the names.
    """
    if names:
        return tasks(names)
    every = [found for task in tasks() for found in (task, *map(type(task), task.variants))]
    return list({task.data_name: task for task in reversed(every)}.values())[::-1]


def spec(name: str) -> TaskSpec:
    """What a model has to know of a task; no data are touched.

    Raises:
        UserError: there is no such task.
    """
    return find(name).spec


@dataclass(frozen=True)
class Dataset:
    """A task's examples, ready for training.

    Attributes:
        spec: the task; max_length is the length these documents were cut to.
        card: what the data are, plain JSON.
        corpus: the arrays behind the properties.
        splits: example indices (int64) of train, validation and test under the protocol.
    """

    spec: TaskSpec
    card: dict
    corpus: Corpus
    splits: dict[str, np.ndarray]

    @property
    def values(self) -> np.ndarray:
        """All documents one after another, uint8 or uint16: token ids (0 is padding) or gray levels 0..255."""
        return self.corpus.values

    @property
    def offsets(self) -> np.ndarray:
        """(n_documents + 1,) int64: document i is values[offsets[i]:offsets[i + 1]]."""
        return self.corpus.offsets

    @property
    def documents(self) -> np.ndarray:
        """(n_examples, spec.documents) int32: which documents make an example."""
        return self.corpus.documents

    @property
    def labels(self) -> np.ndarray:
        """(n_examples,) int32, 0..spec.classes - 1."""
        return self.corpus.labels

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The token of each id; empty for pixels."""
        return self.corpus.vocabulary.tokens

    @property
    def vocab_size(self) -> int:
        """Number of token ids, padding included; 0 for pixels."""
        return len(self.vocabulary)

    @property
    def pixel_mean(self) -> float:
        """Mean to subtract from a gray level, in 0..255."""
        return self.spec.pixel_mean

    @property
    def pixel_std(self) -> float:
        """Deviation to divide a gray level by, in 0..255."""
        return self.spec.pixel_std

    def padded(self, documents: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Documents padded on the right with 0.

        Args:
            documents: their numbers (n,); None: all documents.

        Returns:
            tokens (n, spec.max_length), of the dtype of `values`, and lengths (n,) int32.
        """
        length = self.spec.max_length
        if documents is None:
            documents = np.arange(len(self.offsets) - 1)
            if (np.diff(self.offsets) == length).all():
                return self.values.reshape(-1, length), np.full(len(documents), length, np.int32)
        starts, stops = self.offsets[documents], self.offsets[documents + 1]
        tokens = np.full((len(documents), length), PAD, self.values.dtype)
        for row, start, stop in zip(tokens, starts.tolist(), stops.tolist(), strict=True):
            row[: stop - start] = self.values[start:stop]
        return tokens, (stops - starts).astype(np.int32)

    def decode(self, example: int) -> str:
        """An example as text, its documents apart; an image as rows of shades."""
        pieces = [self.values[self.offsets[i] : self.offsets[i + 1]] for i in self.documents[example]]
        return "\n--- second document ---\n".join(self.corpus.vocabulary.decode(piece) for piece in pieces)


def load(
    task: str,
    *,
    data: str = "auto",
    protocol: str = "strict",
    tokens: str = "characters",
    max_length: int = 0,
    examples: int = 0,
    progress: bool = True,
) -> Dataset:
    """Opens a task's data, preparing them first where need be.

    Args:
        task: name of a module of `ssm_bench.tasks`, or of a variant such as "pathfinder-64-easy".
        data: "real" (the prepared cache, the user's files, a download or a generator), "synthetic" (a small stand-in),
            or "auto" (real where the cache or the user's files have it, else synthetic; also synthetic where
            `max_length` would cut examples that lose their label by it, such as the expressions of ListOps).
        protocol: "strict", "paper" or "lra"; it decides the splits.
        tokens: "characters" or "bytes", for tasks that offer both.
        max_length: documents are cut to that many tokens; 0 means the task's own length. Under "real" the caller
            decides whether cut documents make sense.
        examples: at most that many training examples, and a quarter as many (64 at least) for validation and test;
            0 means all.
        progress: report on standard error.

    Raises:
        UserError: a bad argument, a broken file, or data that are not there, with what to fetch.
    """
    found = find(task)
    for what, value, allowed in (("data", data, DATA), ("protocol", protocol, PROTOCOLS), ("tokens", tokens, TOKENS)):
        if value not in allowed:
            raise unknown_name(what, value, allowed)
    if not 0 <= max_length <= found.spec.max_length:
        raise UserError(
            f"max_length {max_length} of task {task} must lie in 1..{found.spec.max_length} (0: the task's)"
        )
    if examples < 0:
        raise UserError(f"examples {examples} must be 0 (all) or more")
    tokens = found.tokens(tokens)
    corpus, card = _open(found, data, tokens, max_length, Work(progress=progress))
    # Which bytes hold the arrays matters to the cache alone.
    card = {key: value for key, value in card.items() if key not in ("arrays", "format")}
    return _view(found, corpus, card, protocol, max_length or card["max_length"], examples)


def _view(task: Task, corpus: Corpus, card: dict, protocol: str, max_length: int, examples: int) -> Dataset:
    """Splits by protocol, keeps what was asked for, and says so in the card."""
    card = {**card, "protocol": protocol, "max_length": max_length, "examples": examples, "cut": None}
    # A stand-in is made split by split, the same under every protocol.
    synthetic_parts = corpus.kind == "synthetic"
    splits = corpus.ranges() if synthetic_parts else task.splits(corpus, protocol)
    for name, indices in splits.items():
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(corpus.labels):
            raise UserError(
                f"split {name} of {corpus.identity} names examples {indices.min()}..{indices.max()}, but there are "
                f"{len(corpus.labels):,}; run: ssm-bench data prepare {task.data_name} --again"
            )
    limits = {name: max(examples // 4, _FEWEST_HELD_OUT) for name in splits} | {"train": examples}
    kept = {name: subset(indices, limits[name]) if examples else indices for name, indices in splits.items()}
    used = np.unique(np.concatenate(list(kept.values())))
    lengths = np.diff(corpus.offsets)[np.unique(corpus.documents[used])]
    too_long = int((lengths > max_length).sum())
    if too_long:
        card["cut"] = {"max_length": max_length, "documents": too_long, "of": len(lengths)}
    if too_long or len(used) < len(corpus.labels):
        corpus = corpus.compact(used, max_length)
        kept = {name: np.searchsorted(used, indices) for name, indices in kept.items()}
    card |= describe_splits(corpus, kept, task.spec.classes)
    return Dataset(replace(task.spec, max_length=max_length), card, corpus, kept)


def _open(task: Task, data: str, tokens: str, max_length: int, work: Work) -> tuple[Corpus, dict]:
    nonsense = 0 < max_length < task.spec.max_length and not task.can_be_cut
    if data == "synthetic" or (data == "auto" and nonsense):
        return _synthetic(task, tokens, max_length)
    folder = prepare(task, tokens, work, fetch=data == "real")
    if folder:
        return cache.open_corpus(folder, task.spec.classes)
    if data == "auto":
        return _synthetic(task, tokens, max_length)
    raise no_data(task)


def _synthetic(task: Task, tokens: str, max_length: int) -> tuple[Corpus, dict]:
    length = max_length or min(task.spec.max_length, synthetic.MAX_LENGTH)
    if length < synthetic.SHORTEST:
        raise UserError(f"max_length {length} is too short for synthetic data; allowed: {synthetic.SHORTEST} or more")
    corpus = task.synthetic(length, tokens, synthetic.COUNTS, synthetic.SEED)
    return corpus, new_card(task, corpus, length)
