"""The contract of every mixer, for the one of this plug-in: `python -m pytest test_plugin.py`."""

from ssm_bench.testing import check_mixer
from ssm_bench_ema.ema import EMA


def test_the_moving_average_keeps_the_contract_of_a_mixer():
    """Raises AssertionError with a sentence about what does not hold."""
    check_mixer(EMA)
