"""Prepared data are proved: answers, duplicates, counts and shares against what is recorded."""

import numpy as np
import pytest

from ssm_bench.data import cache, verify
from ssm_bench.data.corpus import Vocabulary, offsets_of
from ssm_bench.data.facts import Sample, share_checks
from ssm_bench.data.work import Work
from ssm_bench.tasks import listops, text
from ssm_bench.tasks._listops_evaluator import evaluate, wrong_answers
from ssm_bench.tasks.retrieval import popularity_accuracy
from tests.data import files

SILENT = Work(1, progress=False)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),
        ("[SM 9 9 3 ]", 1),
        ("[MED 1 8 2 9 ]", 5),
        ("[MED 0 9 ]", 4),
        ("[MED [SM 5 6 ] 7 3 ]", 3),
        ("6", 6),
    ],
)
def test_values_of_expressions(expression, value):
    assert evaluate(expression.split()) == value


@pytest.mark.parametrize("expression", ["", "1 2", "[MAX ]", "[MAX 1", "1 ]", "[SUM 1 2 ]"])
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(ValueError):
        evaluate(expression.split())


def test_wrong_answers_are_counted():
    words = listops.VOCABULARY.tokens
    right, broken = (bytes(words.index(word) for word in text.split()) for text in ("[SM 7 8 ]", "[SM 7 8"))
    assert wrong_answers(words, ([right, right, broken], [5, 6, 5])) == 2


def test_the_generator_agrees_with_the_evaluator():
    drawn = [e for e in (listops.expression(7, attempt) for attempt in range(400)) if e]
    rows, labels = zip(*drawn, strict=True)
    assert wrong_answers(listops.VOCABULARY.tokens, (list(rows), list(labels))) == 0


def test_verify_finds_a_wrong_answer(raw_folder, capsys):
    files.listops(raw_folder, [("( ( [MAX 3 ) ( ( ( [SM 9 ) 4 ) ] ) ] )", 3), ("( ( ( [MIN 9 ) 4 ) ] )", 4)])
    assert files.run("prepare", "listops") == 0
    capsys.readouterr()
    assert files.run("verify", "--workers", "1") == 0
    assert "wrong answers" in capsys.readouterr().out
    files.listops(raw_folder, [("( ( ( [MIN 9 ) 4 ) ] )", 5)])
    assert files.run("prepare", "listops", "--again") == 0
    assert files.run("verify", "--workers", "1") == 1
    assert "3 DIFFERS from 0" in capsys.readouterr().out


def test_examples_in_two_splits_are_counted():
    # Documents 0 and 3 are equal; so are the pairs (0, 1) and (3, 1), whatever their labels.
    rows = [b"ab", b"c", b"abc", b"ab"]
    corpus = verify.Corpus(
        np.frombuffer(b"".join(rows), np.uint8),
        offsets_of([len(row) for row in rows]),
        np.asarray([[0, 1], [1, 0], [2, 1], [3, 1], [3, 1]], np.int32),
        np.asarray([0, 0, 1, 1, 1], np.int32),
        {"train": 3, "test": 2},
        Vocabulary("bytes"),
    )
    shared = verify.shared_examples(verify.contents_of(corpus, SILENT), corpus.ranges())
    assert shared == {("train", "train"): 0, ("test", "test"): 1, ("train", "test"): 1}


def checks_of(task):
    (_, folder), *_ = cache.prepared(task, task.tokenizations[0])
    damage, checks = verify.verify(task, folder, SILENT)
    assert damage == []
    return {check.name: check for check in checks}


def test_a_set_is_compared_with_what_is_recorded(raw_folder, monkeypatch):
    monkeypatch.setattr(text, "REVIEWS", files.REVIEWS)
    size = {p: sum(len(r[3].encode()) for r in files.reviews() if r[0] == p) for p in files.REVIEWS}
    monkeypatch.setattr(text, "TEXT_BYTES", size)
    files.imdb_lines(raw_folder)
    files.run("prepare", "text")
    found = checks_of(text.Text())
    assert (found["train"].seen, found["train"].expected, found["train"].holds) == ("8 examples", "25,000", False)
    assert not found["checksum"].holds
    # Positive and negative reviews differ in one word, so there are no duplicates, though 123 are expected in both.
    assert (found["in both train and test"].seen, found["in both train and test"].expected) == ("0", "123")
    assert found["shortcut: one class always"].seen == "50.0% of test"


def test_shares_and_lengths_of_a_sample():
    rng = np.random.default_rng(0)
    sample = Sample(20_000, labels=(0.2, 0.8), lengths={0.5: 50, 0.9: 90})
    labels, lengths = (rng.random(20_000) < 0.8).astype(int), rng.integers(1, 101, 20_000)
    assert all(check.holds for check in share_checks(sample, labels, lengths, 2))
    assert [check.holds for check in share_checks(sample, 1 - labels, lengths + 3, 2)] == [False, False, False]


def test_popularity_knows_the_papers_alone():
    documents = np.asarray([[0, 1], [2, 1], [0, 3], [2, 3], [4, 1], [4, 3], [4, 5]])
    labels = np.asarray([1, 1, 0, 1, 1, 0, 1])
    # Paper 1 was always cited, paper 3 in one of two pairs, paper 5 never seen: 1, 0, 0.
    assert popularity_accuracy(documents, labels, np.arange(4), np.arange(4, 7)) == pytest.approx(2 / 3)
