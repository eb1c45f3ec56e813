"""Every task has a stand-in with a signal that is not the length of the document."""

import numpy as np
import pytest

from ssm_bench.data import load, spec, tasks
from ssm_bench.data.dataset import find
from ssm_bench.data.task import LRA
from ssm_bench.data.work import Work
from ssm_bench.errors import UserError

TASKS = [task.spec.name for task in tasks()]
#: Probes have no stand-in but themselves, which a linear model cannot learn.
WITH_STAND_IN = [task.spec.name for task in tasks(suite=LRA)]
COUNTS = {"train": 2000, "validation": 500, "test": 500}

# The published set-up of S4 and S5: classes, length, documents per example.
SHAPES = {
    "listops": (10, 2048, 1),
    "text": (2, 4096, 1),
    "retrieval": (2, 4000, 2),
    "image": (10, 1024, 1),
    "pathfinder": (2, 1024, 1),
    "pathx": (2, 16384, 1),
}

# Of the distance from chance to certainty: what a linear model must cover, and what the length alone may.
CLEAR_SIGNAL = 0.2
NO_SIGNAL = 0.1


def linear_accuracy(features, labels, splits, classes):
    """Test accuracy of a least-squares classifier."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    features = np.concatenate([features, np.ones((len(features), 1))], 1)
    train, test = splits["train"], splits["test"]
    gram = features[train].T @ features[train] + 10.0 * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features[train].T @ np.eye(classes)[labels[train]])
    return (np.argmax(features[test] @ weights, 1) == labels[test]).mean()


@pytest.mark.parametrize("task", sorted(SHAPES))
def test_spec_is_the_published_one(task):
    found = spec(task)
    assert (found.classes, found.max_length, found.documents) == SHAPES[task]
    assert found.name == task


@pytest.mark.parametrize("max_length", [64, 256])
@pytest.mark.parametrize("task", WITH_STAND_IN)
def test_a_linear_model_learns_but_not_from_the_length(task, max_length):
    dataset = load(task, data="synthetic", max_length=max_length)
    found = dataset.spec
    tokens, lengths = dataset.padded()
    if found.kind == "tokens":
        features = np.stack(
            [np.bincount(row[:n], minlength=dataset.vocab_size) / n for row, n in zip(tokens, lengths, strict=True)]
        )
    else:
        features = tokens.astype(float)
    features = features[dataset.documents]
    sizes = lengths[dataset.documents].astype(float)
    if found.documents == 2:
        features = (features[:, 0] - features[:, 1]) ** 2
        sizes = np.concatenate([sizes, sizes[:, :1] - sizes[:, 1:]], 1)
    else:
        features = features[:, 0]
    chance = 1 / found.classes
    learned = linear_accuracy(features, dataset.labels, dataset.splits, found.classes)
    by_length = linear_accuracy(np.concatenate([sizes, sizes**2], 1), dataset.labels, dataset.splits, found.classes)
    assert learned > chance + CLEAR_SIGNAL * (1 - chance)
    assert by_length < chance + NO_SIGNAL * (1 - chance)


@pytest.mark.parametrize("task", TASKS)
def test_shapes_balance_and_repeatability(task):
    first, second = (load(task, data="synthetic") for _ in range(2))
    found = first.spec
    assert first.card["kind"] == "synthetic"
    assert "stand-in" in first.card["identity"] or "never cut" in first.card["identity"]
    assert first.card["checksum"] == second.card["checksum"]
    assert {name: len(s) for name, s in first.splits.items()} == COUNTS
    assert not set(first.splits["train"]) & set(first.splits["test"])
    for examples in first.splits.values():
        counts = np.bincount(first.labels[examples], minlength=found.classes)
        assert counts.max() - counts.min() <= 1
    tokens, lengths = first.padded()
    assert tokens.shape == (len(lengths), found.max_length)
    assert found.max_length <= 256
    assert first.documents.shape == (len(first.labels), found.documents)
    for row, n, start in zip(tokens, lengths, first.offsets[:-1], strict=True):
        assert (row[:n] == first.values[start : start + n]).all()
        assert not row[n:].any()
    if found.kind == "tokens":
        assert tokens.max() < first.vocab_size == len(first.vocabulary)
    else:
        assert (lengths == found.max_length).all()
        assert first.vocab_size == 0
        assert first.pixel_std > 0


@pytest.mark.parametrize("task", TASKS)
def test_examples_and_length_can_be_reduced(task):
    dataset = load(task, data="synthetic", max_length=64, examples=100)
    assert dataset.card["examples"] == 100
    assert {name: len(s) for name, s in dataset.splits.items()} == {"train": 100, "validation": 64, "test": 64}
    assert dataset.card["counts"] == {"train": 100, "validation": 64, "test": 64}
    tokens, lengths = dataset.padded()
    assert tokens.shape == ((100 + 64 + 64) * dataset.spec.documents, 64)
    assert lengths.max() <= 64
    assert dataset.decode(0)


def test_bytes_are_a_vocabulary_of_257():
    dataset = load("text", data="synthetic", tokens="bytes")
    assert dataset.vocab_size == 257
    assert dataset.card["tokens"] == "bytes"
    assert dataset.decode(0).isascii()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"task": "lisstops"}, "listops"),
        ({"task": "text", "data": "reel"}, "real"),
        ({"task": "text", "protocol": "strickt"}, "strict"),
        ({"task": "text", "tokens": "words"}, "characters"),
        ({"task": "text", "max_length": 5000}, "4096"),
        ({"task": "text", "max_length": 8, "data": "synthetic"}, "16"),
        ({"task": "text", "examples": -1}, "-1"),
    ],
)
def test_a_bad_argument_is_told_in_one_sentence(arguments, told):
    with pytest.raises(UserError, match=told):
        load(**arguments)


def test_a_toy_never_trains_on_examples_that_lost_their_label_by_cutting(monkeypatch):
    opened = []
    monkeypatch.setattr("ssm_bench.data.dataset.prepare", lambda task, *_, **__: opened.append(task.data_name))
    for task in WITH_STAND_IN:
        dataset = load(task, data="auto", max_length=64)
        assert dataset.card["kind"] == "synthetic" and dataset.card["cut"] is None
    # A review that is cut still has words, and so has half of a photograph.
    assert sorted(opened) == ["image", "retrieval", "text"]


def test_the_toy_of_listops_is_the_true_task():
    dataset = load("listops", data="synthetic", max_length=64)
    (check, _) = find("listops").checks(dataset.corpus, Work(progress=False))
    assert check.name == "wrong answers" and check.holds
