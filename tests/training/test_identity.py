"""Which settings a run is named by: those that differ from the defaults of this code."""

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from ssm_bench import registry
from ssm_bench.network.build import SLOTS, options_of
from ssm_bench.record import config_hash, store
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training import identity
from ssm_bench.training.identity import name_of, recipe

RESULTS = Path(__file__).parents[2] / "results"


def test_committed_records_are_named_as_this_code_would_name_them():
    """So a changed default without an entry in `record.identity.UNNAMED` is noticed."""
    for record in store.read_all(RESULTS):
        listed = {name: value for name, value in record.differences.items() if value is not None}
        assert recipe(ConfigDict(record.config)) == listed, record.name


def test_a_new_option_of_a_mixer_changes_no_name(monkeypatch):
    config = resolve("s5", "text")
    before = name_of(config, "c0ffee00")
    monkeypatch.setattr(identity, "options_of", lambda kind: options_of(kind) | {"new": 3})
    assert name_of(config, "c0ffee00") == before
    config.mixer = ConfigDict(config.mixer.to_dict() | {"new": 3})
    assert name_of(config, "c0ffee00") == before
    config.mixer.new = 4
    assert name_of(config, "c0ffee00") != before


@pytest.mark.parametrize(("section", "package", "interface"), SLOTS)
def test_defaults_are_json_values(section, package, interface):
    for name in registry.names(package):
        json.dumps(options_of(registry.subclass(package, name, interface)))


def test_data_and_seeds_are_in_the_name():
    config = resolve("s5", "text", seed=3)
    hashed = config_hash(recipe(config))
    assert name_of(config, "c0ffee0012") == f"{hashed}-c0ffee00-s3"
    assert name_of(config, "c0ffee0012", (0, 1)) == f"{hashed}-c0ffee00-s0-1"
