"""The order of training examples, and evaluation batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_bench.train.batches import epoch_order, evaluation_batches, training_batches

EXAMPLES = np.arange(100, 223)


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_only():
    count = len(EXAMPLES)
    first = epoch_order(count, seed=3, epoch=1)
    assert sorted(first) == list(range(count))
    epoch_order.cache_clear()
    assert (epoch_order(count, seed=3, epoch=1) == first).all()
    assert (epoch_order(count, seed=3, epoch=2) != first).any()
    assert (epoch_order(count, seed=4, epoch=1) != first).any()


@given(start=st.integers(0, 50), cut=st.integers(1, 30), count=st.integers(31, 60), batch=st.integers(1, 123))
def test_batches_do_not_depend_on_where_a_call_starts(start, cut, count, batch):
    whole = training_batches(EXAMPLES, batch, 0, start, count)
    head = training_batches(EXAMPLES, batch, 0, start, cut)
    tail = training_batches(EXAMPLES, batch, 0, start + cut, count - cut)
    assert whole.shape == (count, batch)
    assert (np.concatenate([head, tail]) == whole).all()


def test_an_epoch_shows_no_example_twice():
    batches = training_batches(EXAMPLES, 10, 0, 0, 12)
    assert len(np.unique(batches)) == batches.size


@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("batch", [1, 7, 123, 200])
def test_evaluation_sees_every_example_exactly_once(batch, group):
    batches, weights = evaluation_batches(EXAMPLES, batch, group)
    assert batches.shape[1:] == weights.shape[1:] == (group, batch)
    assert sorted(batches[weights == 1]) == sorted(EXAMPLES)
    assert set(np.unique(weights)) <= {0.0, 1.0}
