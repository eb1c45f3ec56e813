"""Seeds become means and intervals; failures are never averaged away."""

import math
import statistics

import pytest

from ssm_bench.report import aggregate

from .samples import budget, record

#: Half-width of the interval of three values 1 apart: t(0.975, 2 degrees of freedom) / sqrt(3), t from tables.
THREE_SEEDS = 4.302653 / math.sqrt(3)
#: The tables give seven digits.
RELATIVE = 1e-6


def only_cell(*records):
    """The cell of records that share a model and a task."""
    (cell,) = aggregate.cells(records).values()
    return cell


def test_mean_and_t_interval():
    mean, interval = aggregate.mean_interval([60.0, 61.0, 62.0])
    assert mean == 61.0
    assert interval == pytest.approx(THREE_SEEDS, rel=RELATIVE)


def test_one_seed_has_no_interval():
    assert aggregate.mean_interval([60.0]) == (60.0, None)


def test_failed_seeds_are_kept_out_of_the_mean_and_counted_as_chance_only_where_asked():
    cell = only_cell(
        record("s5", "text", 90.0, seed=0),
        record("s5", "text", 92.0, seed=1),
        record("s5", "text", None, seed=2, status="oom"),
    )
    assert cell.status == "ok"
    assert cell.accuracy[0] == pytest.approx(91.0)
    assert not cell.complete
    assert cell.accuracy_failures_as_chance == pytest.approx((90 + 92 + 50) / 3)


def test_only_failures_name_each_kind():
    cell = only_cell(
        record("s5", "text", None, seed=0, status="oom"), record("s5", "text", None, seed=1, status="diverged")
    )
    assert cell.status == "diverged/oom"
    assert cell.accuracy is None
    assert cell.accuracy_failures_as_chance == 50.0


def test_a_partial_run_shows_no_accuracy_and_counts_as_nothing():
    partial = record("s5", "text", 88.0, status="partial", done=3)
    cell = only_cell(partial)
    assert cell.status == "partial"
    assert cell.accuracy is None
    assert cell.accuracy_failures_as_chance is None
    beside = only_cell(partial, record("s5", "text", 90.0, seed=1))
    assert beside.accuracy == (90.0, None)
    assert beside.unfinished == (partial,)


def test_share_is_the_least_over_the_seeds_and_unknown_without_a_published_schedule():
    assert only_cell(record("s5", "text", 90.0), record("s5", "text", 90.0, seed=1, done=400)).share == 0.4
    assert only_cell(record("s5", "text", 90.0, published=None)).share is None


def test_the_larger_share_of_the_schedule_wins_then_the_more_recent():
    long = record("s5", "text", 80.0, config={"lr": 1}, done=1000, planned=1000, created="2026-01-01T00:00:00Z")
    short = record("s5", "text", 90.0, config={"lr": 2}, created="2026-03-01T00:00:00Z")
    later = record("s5", "text", 85.0, config={"lr": 3}, done=1000, planned=1000, created="2026-02-01T00:00:00Z")
    cell = only_cell(long, short, later)
    assert cell.runs == (later,)
    assert cell.others == (long, short)


def test_a_config_without_an_accuracy_gives_way_but_is_kept_among_the_others():
    failed = record("s5", "text", None, status="diverged", config={"lr": 1}, done=900, planned=1000)
    finished = record("s5", "text", 90.0, config={"lr": 2})
    cell = only_cell(failed, finished)
    assert cell.runs == (finished,)
    assert cell.others == (failed,)


def test_seeds_on_different_data_are_never_averaged():
    official = record("s5", "text", 90.0, created="2026-02-01T00:00:00Z")
    for other in (
        record("s5", "text", 70.0, seed=1, kind="rebuilt"),
        record("s5", "text", 70.0, seed=1, checksum="0ddba110"),
        record("s5", "text", 70.0, seed=1, notes=("cut",)),
    ):
        cell = only_cell(official, other)
        assert cell.runs == (official,)
        assert cell.others == (other,)


def row_of(model: str) -> dict:
    """task -> cell of one model of the sample."""
    return {task: cell for (of, task), cell in aggregate.cells(budget()).items() if of == model}


def test_average_only_over_complete_rows():
    means = [value + 0.5 for value in (58.0, 88.0, 89.5, 88.0, 94.0, 93.0)]
    assert aggregate.average(row_of("lru")) == pytest.approx(statistics.fmean(means))
    assert aggregate.average(row_of("s5")) is None
    incomplete = row_of("lru")
    del incomplete["pathx"]
    assert aggregate.average(incomplete) is None
    assert aggregate.average_failures_as_chance(incomplete) is None


def test_average_with_failures_as_chance():
    expected = statistics.fmean([61.0, 87.25, (90 + 91 + 50) / 3, 88.5, 93.0, 50.0])
    assert aggregate.average_failures_as_chance(row_of("s5")) == pytest.approx(expected)
    assert aggregate.average_failures_as_chance(row_of("transformer")) is None


def test_majority_share():
    assert aggregate.majority_share(record("s5", "text", 90.0)) == 52.0
