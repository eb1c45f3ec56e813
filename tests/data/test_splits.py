"""Splits are disjoint, seeded, and those of S4 and S5."""

import numpy as np

from ssm_bench.data.splits import held_out, permutation, subset


def test_permutation_is_that_of_pytorch():
    # torch.randperm(10, generator=torch.Generator().manual_seed(42))
    assert permutation(10, 42).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]


def test_permutation_holds_each_index_once():
    assert sorted(permutation(1000).tolist()) == list(range(1000))
    assert permutation(0).tolist() == []


def test_held_out_deals_everything_once():
    parts = held_out(np.arange(50, 150), {"train": 80, "validation": 15, "test": 5})
    assert {name: len(part) for name, part in parts.items()} == {"train": 80, "validation": 15, "test": 5}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(50, 150))
    assert all((np.diff(part) > 0).all() for part in parts.values())


def test_subset_is_seeded_and_sorted():
    chosen = subset(np.arange(100, 200), 10)
    assert len(chosen) == 10
    assert (np.diff(chosen) > 0).all()
    assert (chosen == subset(np.arange(100, 200), 10)).all()
    assert (subset(np.arange(5), 10) == np.arange(5)).all()
