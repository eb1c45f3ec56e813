"""Every probe is what its page says: its labels by a plain loop, and nothing else that reveals them."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.data import load, tasks
from ssm_bench.data.corpus import PAD
from ssm_bench.data.dataset import find
from ssm_bench.data.task import LRA, PROBE
from ssm_bench.data.work import Work
from ssm_bench.tasks import _probes
from tests.data import files

PROBES = [task.spec.name for task in tasks(suite=PROBE)]
COUNTS = {"train": 2400, "validation": 120, "test": 240}
ALONE = Work(1, progress=False)


def answer(task, words):
    """The label of a sequence, from its words, by a plain loop."""
    *before, last = words
    if task == "mqar":
        return int(before[before.index(last) + 1].removeprefix("v"))
    if task == "selective_copying":
        return ord([word for word in before if word != "."][int(last.removeprefix("#")) - 1]) - ord("a")
    if task == "induction":
        return ord(before[before.index(last) + 1]) - ord("a")
    if task == "parity":
        return words.count("1") % 2
    if task == "permutations":
        place = 0
        for word in words:
            place = int(word[place]) - 1
        return place
    assert task == "crossing"
    first, second = (int(word.strip("[]")) for word in words if word.startswith("["))
    return int(first * second > 0)


def probe_of(name):
    task = find(name)
    assert isinstance(task, _probes.Probe)
    return task


def words_of(corpus, example):
    return corpus.vocabulary.decode(corpus.values[corpus.offsets[example] : corpus.offsets[example + 1]]).split()


@pytest.fixture(scope="module", params=PROBES)
def probe(request):
    task = probe_of(f"{request.param}-{min(map(int, find(request.param).variants))}")
    return request.param, task, task.generate(COUNTS, ALONE)


def test_the_suites():
    assert [task.spec.name for task in tasks(suite=LRA)] == [
        *("image", "listops", "pathfinder", "pathx", "retrieval", "text")
    ]
    assert len(PROBES) == 6 and {*PROBES} < {task.spec.name for task in tasks()}
    for name in PROBES:
        task = find(name)
        assert str(task.spec.max_length) not in task.variants
        for variant in task.variants:
            spec = find(f"{name}-{variant}").spec
            assert (spec.name, spec.max_length, spec.suite) == (f"{name}-{variant}", int(variant), PROBE)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PROBES), st.integers(16, 300), st.integers(0, 2**32 - 1), st.data())
def test_labels_of_any_length_and_seed_by_a_plain_loop(name, length, seed, data):
    task = probe_of(name)
    labels = np.asarray(data.draw(st.lists(st.integers(0, task.spec.classes - 1), min_size=1, max_size=5)))
    drawn = task.draw(labels, length, np.random.RandomState(seed))
    assert drawn.shape == (len(labels), length)
    assert drawn.min() > PAD and drawn.max() <= len(task.symbols)
    assert [answer(name, [task.symbols[i - 1] for i in row]) for row in drawn] == labels.tolist()


def test_labels_balance_and_lengths_of_a_set(probe):
    name, task, corpus = probe
    assert corpus.parts == COUNTS
    assert (np.diff(corpus.offsets) == task.spec.max_length).all()
    assert [answer(name, words_of(corpus, i)) for i in range(0, len(corpus.labels), 7)] == corpus.labels[::7].tolist()
    for part in corpus.ranges().values():
        counts = np.bincount(corpus.labels[part], minlength=task.spec.classes)
        assert counts.max() - counts.min() <= 1
    rows = corpus.values.reshape(len(corpus.labels), -1)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_no_single_position_and_no_count_of_tokens_reveals_the_label(probe):
    """For each feature, a table of what training examples with its value had as labels scores chance on the others."""
    name, task, corpus = probe
    rows, labels, classes = corpus.values.reshape(len(corpus.labels), -1), corpus.labels, task.spec.classes
    train = np.arange(len(labels)) < COUNTS["train"]
    counts = np.stack([np.bincount(row, minlength=len(task.symbols) + 1) for row in rows])
    # The label of parity is a count, modulo 2.
    scores, features = [], [*rows.T, *([] if name == "parity" else counts.T)]
    for feature in features:
        table = np.zeros((feature.max() + 1, classes))
        np.add.at(table, (feature[train], labels[train]), 1)
        scores.append((table.argmax(1)[feature[~train]] == labels[~train]).mean())
    chance, tests = 1 / classes, (~train).sum()
    band = (chance * (1 - chance) / tests) ** 0.5
    assert abs(np.mean(scores) - chance) < band
    # 4.5 standard errors: dozens of features are looked at.
    assert max(scores) < chance + 4.5 * band


@pytest.mark.parametrize("name", ["mqar-64", "selective_copying-64", "induction-64"])
def test_the_most_frequent_token_reveals_no_label(name):
    task = probe_of(name)
    corpus = task.generate({"train": 3000}, ALONE)
    first = {"mqar": "v0", "selective_copying": "a", "induction": "a"}[name.partition("-")[0]]
    start = 1 + task.symbols.index(first)
    rows = corpus.values.reshape(3000, -1)
    counts = np.stack([np.bincount(row, minlength=start + 16)[start : start + 16] for row in rows])
    assert (np.ptp(counts, axis=1) <= 1).all()
    # Ties are broken at random. 62 of 16 tokens: a token that occurs 4 times is the label in 4 of 62 cases.
    most = (counts + np.random.RandomState(0).rand(*counts.shape) / 2).argmax(1)
    assert (most == corpus.labels).mean() < 4 / 62 + 4 * (1 / 16 * 15 / 16 / 3000) ** 0.5


def test_a_set_depends_on_its_seed_alone(monkeypatch):
    task = probe_of("parity-32")
    counts = {"train": 2500, "validation": 10, "test": 10}
    one, two = (task.generate(counts, Work(workers, progress=False)) for workers in (1, 2))
    assert (one.values == two.values).all() and (one.labels == two.labels).all()
    monkeypatch.setattr(_probes, "SEED", 1)
    assert (task.generate(counts, ALONE).values != one.values).any()


def test_a_probe_is_prepared_verified_and_opened(monkeypatch, capsys):
    monkeypatch.setattr("ssm_bench.data.work.usable_cores", lambda: 1)
    monkeypatch.setattr(_probes, "COUNTS", {"train": 40, "validation": 10, "test": 10})
    dataset = load("mqar-64", data="real")
    assert dataset.card["identity"] == "MQAR (generated v1, seed 0)" == find("mqar").fetch_identity
    assert dataset.card["kind"] == "generated" and dataset.spec.max_length == 64
    assert files.run("list") == 0
    assert "mqar-64-words-generated" in capsys.readouterr().out
    # The set was cut for this test, and nothing else is wrong with it.
    assert files.run("verify", "mqar-64") == 1
    shown = capsys.readouterr().out
    assert "mqar-64-words-generated: intact" in shown
    assert shown.count("DIFFERS") == 6, "three counts and three histograms"


def test_the_examples_of_the_page_have_the_labels_that_it_says():
    page = (Path(__file__).parents[2] / "docs" / "tasks" / "probes.md").read_text("utf-8")
    found = re.findall(r"`(\w+)`, label (\d+):\n\n```text\n(.*?)\n```", page, re.S)
    assert sorted(name for name, _, _ in found) == PROBES
    for name, label, sequence in found:
        assert answer(name, sequence.split()) == int(label)


def test_probes_are_prepared_by_name_only(monkeypatch, capsys):
    monkeypatch.setattr("ssm_bench.data.prepare.prepare", lambda *_, **__: None)
    assert files.run("prepare", "all") == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        task.spec.name for task in tasks(suite=LRA)
    ]
