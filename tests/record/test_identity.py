"""The identity of a run depends on what is computed, and on nothing else."""

import pytest

from ssm_bench.record.identity import config_hash


def test_known_value():
    # sha256 of '{"a":1,"b":{"c":[1,2]}}'
    assert config_hash({"b": {"c": [1, 2]}, "a": 1}) == "dd5af5bcb123"


def test_order_seed_preset_and_report_do_not_matter():
    config = {"model": {"d_model": 8, "n": 4}, "lr": 0.1}
    same = {"lr": 0.1, "seed": 5, "preset": "quick", "report": {"every": 10}, "model": {"n": 4, "d_model": 8}}
    assert config_hash(config) == config_hash(same)


def test_everything_else_matters():
    assert config_hash({"model": {"seed": 1}}) != config_hash({"model": {"seed": 2}})
    assert config_hash({"lr": 0.1}) != config_hash({"lr": 0.2})


def test_a_setting_younger_than_a_record_does_not_matter_at_the_value_that_was_all_there_was():
    before = {"model": {"d_model": 8}}
    for setting, then, now in (("precision", "float32", "bf16"), ("context", 0, 16)):
        assert config_hash({"model": {"d_model": 8, setting: then}}) == config_hash(before)
        assert config_hash({"model": {"d_model": 8, setting: now}}) != config_hash(before)


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        config_hash({"clip": float("inf")})
