"""The identity of a run depends on what differs from the defaults, on its data and its seed, and on nothing else."""

import copy
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ssm_bench.record import identity
from ssm_bench.record.identity import config_hash, contradiction, differences, run_name

NAMES = st.text("abcdef", min_size=1, max_size=4)
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("xyz", max_size=3)
SECTIONS = st.sampled_from(["model", "train", "optimizer", "mixer"])
SETTINGS = st.dictionaries(st.tuples(SECTIONS, NAMES), VALUES, max_size=8)
SLOTS = {"model": {"mixer": "s5", "scaffold": "glu"}}


def nested(settings):
    """A configuration of {(section, name): value}, with a mixer and a scaffold."""
    config = copy.deepcopy(SLOTS)
    for (section, name), value in settings.items():
        config.setdefault(section, {})[name] = value
    return config


def flat(settings):
    return {f"{section}.{name}": value for (section, name), value in settings.items()}


def hashed(config, defaults):
    return config_hash(differences(config, defaults))


def test_known_value():
    # sha256 of '{"a":1,"b.c":[1,2]}'
    assert config_hash({"b.c": [1, 2], "a": 1}) == "b7b78ed0e48d"


@given(SETTINGS, SETTINGS)
def test_a_new_setting_at_its_default_changes_no_name(settings, new):
    assume(not set(new) & set(settings))
    before = hashed(nested(settings), {})
    assert hashed(nested(settings | new), flat(new)) == before
    # Nor does a run from before the setting existed get another one.
    assert hashed(nested(settings), flat(new)) == before


@given(SETTINGS, SETTINGS, st.data())
def test_every_difference_changes_the_name(defaults, settings, data):
    config = defaults | settings
    assume(config)
    place = data.draw(st.sampled_from(sorted(config)))
    other = data.draw(VALUES.filter(lambda value: identity._text(value) != identity._text(config[place])))
    flat_defaults = flat(defaults)
    assert hashed(nested(config), flat_defaults) != hashed(nested(config | {place: other}), flat_defaults)


@given(SETTINGS, st.randoms())
def test_the_order_of_keys_does_not_matter(settings, random):
    shuffled = list(settings.items())
    random.shuffle(shuffled)
    assert hashed(nested(dict(shuffled)), {}) == hashed(nested(settings), {})


@given(SETTINGS, SETTINGS)
def test_a_changed_default_keeps_old_names(settings, defaults):
    """With the former default in UNNAMED: the setting is left out at that value, whatever the default is now."""
    before = hashed(nested(defaults | settings), flat(defaults))
    former = {
        (name.replace("mixer.", "mixer.s5.") if name.startswith("mixer.") else name): value
        for name, value in flat(defaults).items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "UNNAMED", former)
        assert hashed(nested(defaults | settings), dict.fromkeys(flat(defaults), "another default")) == before


def test_an_option_of_one_mixer_is_not_that_of_another(monkeypatch):
    monkeypatch.setattr(identity, "UNNAMED", {"mixer.s5.blocks": 1})
    for mixer, named in (("s5", False), ("lru", True)):
        config = {"model": {"mixer": mixer}, "mixer": {"blocks": 1}}
        assert ("mixer.blocks" in differences(config, {})) is named


def test_seed_preset_and_report_do_not_matter():
    config = {"model": {"d_model": 8, "n": 4}, "lr": 0.1}
    same = config | {"seed": 5, "preset": "quick", "report": {"every": 10}}
    assert differences(config, {}) == differences(same, {})
    assert differences({"model": {"seed": 1}}, {}) == {"model.seed": 1}


@given(SETTINGS)
def test_a_hash_survives_json(settings):
    named = differences(nested(settings), {})
    assert config_hash(json.loads(json.dumps(named))) == config_hash(named)


def test_whole_numbers_are_one_value_and_truth_is_another():
    assert config_hash({"a": 1}) == config_hash({"a": 1.0})
    assert config_hash({"a": (1, 2)}) == config_hash({"a": [1, 2]})
    assert config_hash({"a": 1}) != config_hash({"a": True})


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        config_hash({"clip": float("inf")})


def test_data_and_seeds_have_their_place_in_a_name():
    assert run_name("0123456789ab", "c0ffee0012345678", [3]) == "0123456789ab-c0ffee00-s3"
    assert run_name("0123456789ab", "c0ffee0012345678", [0, 1]) == "0123456789ab-c0ffee00-s0-1"


@pytest.mark.parametrize(
    ("config", "listed", "said"),
    [
        ({"train": {"steps": 7}}, {"train.steps": 8}, "train.steps is 8, but the config says 7"),
        ({"train": {"steps": 7}}, {}, "train.steps is missing"),
        ({"train": {"steps": 0}}, {"mixer.p": 1}, "mixer.p is 1, but the config says None"),
        ({"train": {"steps": 7}}, {"train.steps": 7, "model.young": None}, ""),
        ({"train": {"lengths": 1}, "mixer": {"p": 2}, "model": {"mixer": "s5"}}, {"model.mixer": "s5"}, ""),
    ],
)
def test_differences_that_are_not_the_config_s_are_found(config, listed, said):
    assert contradiction(config, listed).startswith(said) and bool(contradiction(config, listed)) == bool(said)


def test_a_configuration_of_an_earlier_version_keeps_its_differences():
    config = {"model": {"name": "s5", "d_model": 64, "mixer": "s5"}, "mixer": {"blocks": 2}, "train": {"steps": 3}}
    whole = identity.completed(config)
    assert whole["model"]["window"] == 0 and whole["train"]["lengths"] == 1 and whole["mixer"] == {"blocks": 2}
    assert differences(whole, identity.base_defaults()) == differences(config, identity.base_defaults())
