"""The generator follows the procedure of the Long Range Arena, and depends on the seed alone."""

import statistics

import numpy as np
import pytest

from ssm_bench.data import load
from ssm_bench.data.work import Work
from ssm_bench.tasks import listops

COUNTS = {"train": 900, "validation": 50, "test": 50}

# Measured on 20,000 accepted expressions of an independent implementation; the bands are four standard errors of a
# thousand draws (of 20,000 attempts for the acceptance).
ACCEPTANCE, ACCEPTANCE_BAND = 0.082, 0.008
MEAN_LENGTH, LENGTH_BAND = 1035, 4 * 395 / 1000**0.5
EXTREME_SHARE, SHARE_BAND = 0.17, 4 * (0.17 * 0.83 / 1000) ** 0.5


@pytest.fixture(scope="module")
def corpus():
    return listops.generate(COUNTS, Work(1, progress=False))


def words(corpus, i):
    ids = corpus.values[corpus.offsets[i] : corpus.offsets[i + 1]]
    assert ids[-1] == 2
    return [corpus.vocabulary.tokens[k] for k in ids[:-1]]


def evaluate(words):
    """Value and nesting of an expression, by a stack."""
    meaning = {
        "[MAX": max,
        "[MIN": min,
        "[MED": lambda values: int(statistics.median(values)),
        "[SM": lambda values: sum(values) % 10,
    }
    stack, deepest = [[]], 0
    for word in words:
        if word in meaning:
            stack.append([word])
            deepest = max(deepest, len(stack) - 1)
        elif word == "]":
            operator, *values = stack.pop()
            assert 2 <= len(values) <= listops.MAX_ARGUMENTS
            stack[-1].append(meaning[operator](values))
        else:
            stack[-1].append(int(word))
    ((value,),) = stack
    return value, deepest


def test_values_lengths_and_nesting(corpus):
    for i in range(0, 1000, 5):
        expression = words(corpus, i)
        value, deepest = evaluate(expression)
        assert value == corpus.labels[i]
        assert deepest <= 9
        assert 500 < len(expression) < 2000


def test_distribution(corpus):
    lengths = np.diff(corpus.offsets) - 1
    assert abs(lengths.mean() - MEAN_LENGTH) < LENGTH_BAND
    shares = np.bincount(corpus.labels, minlength=10) / len(corpus.labels)
    assert abs(shares[0] - EXTREME_SHARE) < SHARE_BAND
    assert abs(shares[9] - EXTREME_SHARE) < SHARE_BAND
    roots = np.bincount(corpus.values[corpus.offsets[:-1]], minlength=18)[listops.FIRST_OPERATOR :] / 1000
    assert abs(roots - 0.25).max() < 4 * (0.25 * 0.75 / 1000) ** 0.5
    accepted = sum(listops.expression(1, attempt) is not None for attempt in range(20_000)) / 20_000
    assert abs(accepted - ACCEPTANCE) < ACCEPTANCE_BAND


def test_the_set_does_not_depend_on_the_workers(corpus):
    other = listops.generate(COUNTS, Work(2, progress=False))
    for name in ("values", "offsets", "labels"):
        assert (getattr(other, name) == getattr(corpus, name)).all()
    assert other.parts == COUNTS


def test_an_attempt_is_decided_by_its_numbers(corpus):
    first = next(drawn for attempt in range(1000) if (drawn := listops.expression(0, attempt)))
    assert first[0] == corpus.values[: corpus.offsets[1] - 1].tobytes()
    assert [listops.expression(1, a) for a in range(50)] != [listops.expression(0, a) for a in range(50)]


def test_expressions_are_distinct(corpus):
    assert len({tuple(words(corpus, i)) for i in range(1000)}) == 1000


def test_duplicates_are_dropped(monkeypatch):
    monkeypatch.setattr(listops, "_ATTEMPTS_AT_ONCE", 4)
    drawn = [(b"\x04", 0), (b"\x05", 1), (b"\x04", 0), (b"\x06", 2)]
    monkeypatch.setattr(listops, "expression", lambda seed, attempt: drawn[attempt % 4])
    corpus = listops.generate({"train": 2, "validation": 0, "test": 1}, Work(1, progress=False))
    assert corpus.labels.tolist() == [0, 1, 2]


def test_the_test_part_has_a_seed_of_its_own(corpus):
    def drawn(seed, number):
        found = (listops.expression(seed, attempt) for attempt in range(number * 100))
        return [expression for expression in found if expression][:number]

    train, test = corpus.ranges()["train"], corpus.ranges()["test"]
    for part, seed in ((train, listops.SEED), (test, listops.TEST_SEED)):
        expected = drawn(seed, 20)
        assert [(corpus.values[corpus.offsets[i] : corpus.offsets[i + 1] - 1].tobytes(), corpus.labels[i])
                for i in part[:20]] == expected  # fmt: skip


def test_the_first_version_of_the_set_is_replaced_and_never_opened(cache_folder, monkeypatch, capfd):
    monkeypatch.setattr("ssm_bench.data.work.usable_cores", lambda: 1)
    monkeypatch.setattr(listops, "_ATTEMPTS_AT_ONCE", 100)
    monkeypatch.setattr(listops, "GENERATED_COUNTS", {"train": 10, "validation": 2, "test": 2})
    with monkeypatch.context() as first_version:
        first_version.setattr(listops, "GENERATED_IDENTITY", "ListOps (generated, seed 0)")
        first_version.setattr(listops.ListOps, "fetch_identity", "")
        assert load("listops", data="real").card["identity"] == "ListOps (generated, seed 0)"
    monkeypatch.setattr(listops, "GENERATED_COUNTS", {"train": 10, "validation": 2, "test": 5})
    # Neither as real data, nor as a reason to take the stand-in.
    dataset = load("listops", data="auto")
    assert dataset.card["identity"] == listops.GENERATED_IDENTITY == "ListOps (generated v2, seed 0)"
    assert dataset.card["counts"] == {"train": 10, "validation": 2, "test": 5}
    assert "holds ListOps (generated, seed 0), an earlier version" in capfd.readouterr().err


@pytest.mark.parametrize(("values", "middle"), [([3, 1, 2], 2), ([1, 2], 1), ([9, 0, 5, 6], 5), ([7, 8, 8, 9], 8)])
def test_median_is_truncated(values, middle):
    assert listops.median(values) == middle == int(statistics.median(values))
