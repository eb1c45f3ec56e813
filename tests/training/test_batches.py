"""The order of training examples, their padding, and evaluation batches."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_bench.training.batches import UNIT, WINDOW, TrainingOrder, evaluation_batches, padded_lengths

EXAMPLES = np.arange(100, 223)
LENGTHS = np.random.default_rng(0).integers(1, 1000, 300)
ONE, SEVERAL = (1024,), (320, 640, 1024)


def order_of(batch, seed=0, padded=ONE, examples=EXAMPLES, lengths=LENGTHS):
    return TrainingOrder(examples, lengths, batch=batch, seed=seed, padded=padded)


@pytest.mark.parametrize("padded", [ONE, SEVERAL])
def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_only(padded):
    first = order_of(1, seed=3, padded=padded).epoch(1)
    assert sorted(first.ravel()) == list(range(len(EXAMPLES)))
    assert (order_of(1, seed=3, padded=padded).epoch(1) == first).all()
    assert (order_of(1, seed=3, padded=padded).epoch(2) != first).any()
    assert (order_of(1, seed=4, padded=padded).epoch(1) != first).any()


@given(
    start=st.integers(0, 50),
    cut=st.integers(1, 30),
    count=st.integers(31, 60),
    batch=st.integers(1, 123),
    padded=st.sampled_from([ONE, SEVERAL]),
)
def test_batches_do_not_depend_on_where_a_call_starts(start, cut, count, batch, padded):
    whole, sizes = order_of(batch, padded=padded).batches(start, count)
    parts = order_of(batch, padded=padded)
    head, tail = parts.batches(start, cut), parts.batches(start + cut, count - cut)
    assert whole.shape == (count, batch) and sizes.shape == (count,)
    assert (np.concatenate([head[0], tail[0]]) == whole).all()
    assert (np.concatenate([head[1], tail[1]]) == sizes).all()


@pytest.mark.parametrize("padded", [ONE, SEVERAL])
def test_an_epoch_shows_no_example_twice(padded):
    batches, _ = order_of(10, padded=padded).batches(0, 12)
    assert len(np.unique(batches)) == batches.size


def test_every_batch_gets_the_shortest_length_that_holds_it():
    batches, sizes = order_of(4, padded=SEVERAL).batches(0, 90)
    longest = LENGTHS[batches].max(1)
    padded = np.array(SEVERAL)[sizes]
    assert (longest <= padded).all()
    assert (longest > np.array((0, *SEVERAL))[sizes]).all()
    assert set(sizes) == {0, 1, 2}


def test_batches_of_a_window_are_those_of_the_shuffled_order_sorted_by_length():
    examples, lengths = np.arange(2000), np.random.default_rng(1).integers(1, 1000, 2000)
    plain = order_of(8, examples=examples, lengths=lengths).epoch(0)
    similar = order_of(8, examples=examples, lengths=lengths, padded=SEVERAL).epoch(0)
    for start in range(0, len(plain), WINDOW):
        window, sorted_window = plain[start : start + WINDOW], similar[start : start + WINDOW]
        assert sorted(window.ravel()) == sorted(sorted_window.ravel())
        ranges = sorted((lengths[row].min(), lengths[row].max()) for row in sorted_window)
        assert all(low[1] <= high[0] for low, high in itertools.pairwise(ranges))
        # Their order is drawn, so that training does not walk from short to long.
        assert [lengths[row].min() for row in sorted_window] != [low for low, _ in ranges]


@given(st.lists(st.integers(1, 8 * UNIT), min_size=1, max_size=30), st.integers(1, 4))
def test_no_other_lengths_leave_less_padding(lengths, count):
    lengths = np.array(lengths)
    padded = padded_lengths(lengths, count)
    sizes = range(UNIT, -(-max(lengths) // UNIT) * UNIT + 1, UNIT)
    assert len(padded) <= count and set(padded) <= set(sizes) and list(padded) == sorted(set(padded))
    assert padded[-1] == sizes[-1]

    def positions(chosen):
        return sum(min(size for size in chosen if size >= n) for n in lengths)

    others = (
        chosen
        for size in range(1, count + 1)
        for chosen in itertools.combinations(sizes, size)
        if chosen[-1] == sizes[-1]
    )
    assert positions(padded) == min(positions(chosen) for chosen in others)


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("batch", [1, 7, 123, 200])
@pytest.mark.parametrize("padded", [ONE, SEVERAL])
def test_evaluation_sees_every_example_exactly_once(batch, group, padded):
    groups = evaluation_batches(EXAMPLES, LENGTHS, batch, padded, group)
    assert all(examples.shape == weights.shape == (group, batch) for examples, weights, _ in groups)
    assert sorted(np.concatenate([examples[weights == 1] for examples, weights, _ in groups])) == sorted(EXAMPLES)
    assert set(np.unique([weights for _, weights, _ in groups])) <= {0.0, 1.0}
    assert all(LENGTHS[examples].max() <= length for examples, _, length in groups)
