"""List scheduling of cells on several devices."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_bench.sweep.schedule import schedule

TIMES = st.lists(st.floats(0, 1e6), min_size=1, max_size=30)


@given(TIMES, st.integers(1, 40))
def test_the_makespan_lies_within_grahams_bounds(seconds, devices):
    found = schedule(seconds, devices)
    least = max(max(seconds), sum(seconds) / devices)
    assert least * (1 - 1e-9) <= found.makespan <= sum(seconds) / devices + max(seconds) * (1 + 1e-9)
    assert 0 <= found.busy <= 1 + 1e-9


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (1, "on 1 devices: 3.0 h, or 3 device hours, 100 % of them busy; limited by the number of devices"),
        (2, "on 2 devices: 2.0 h, or 4 device hours, 75 % of them busy; limited by the longest cell"),
        (2**31 - 1, "limited by the longest cell (longest cell: 2.0 h)"),
    ],
)
def test_a_schedule_says_what_limits_it(devices, expected):
    found = schedule([7200.0, 3600.0], devices)
    assert expected in found.sentence()
    assert math.isclose(found.makespan, 10_800.0 if devices == 1 else 7200.0)
