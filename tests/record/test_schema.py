"""A record survives the round trip, and a bad one is refused with the field named."""

import json

import numpy as np
import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import schema

from .samples import changed, raw_record, raw_speed


def test_json_round_trip_changes_no_byte():
    record = schema.validate(raw_record())
    text = record.to_json()
    assert json.loads(text) == raw_record()
    assert schema.validate(json.loads(text)) == record
    assert schema.validate(json.loads(text)).to_json() == text
    assert text.endswith("}\n")


def test_key_order_is_the_schema_s_whatever_order_was_given():
    shuffled = dict(sorted(raw_record().items(), reverse=True))
    assert schema.validate(shuffled).to_json() == schema.validate(raw_record()).to_json()
    assert list(json.loads(schema.validate(shuffled).to_json())) == list(raw_record())


def test_a_curve_point_takes_one_line():
    lines = schema.validate(raw_record()).to_json().splitlines()
    assert sum(line.strip().startswith('{"step"') for line in lines) == 2


def test_speed_record_round_trip():
    record = schema.validate_speed(raw_speed())
    assert json.loads(record.to_json()) == raw_speed()


def test_array_scalars_become_numbers_and_non_finite_ones_null():
    raw = raw_record(status="diverged", result=None)
    raw["steps"]["done"] = np.int64(10)
    raw["curve"][1]["train_loss"] = np.float32("nan")
    raw["curve"][1]["validation_loss"] = float("inf")
    record = schema.validate(raw)
    assert record.steps.done == 10
    assert record.curve[1].train_loss is None
    assert record.curve[1].validation_loss is None
    assert "NaN" not in record.to_json()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status", "finished"),
        ("task.classes", "two"),
        ("task.name", "../text"),
        ("data.kind", "home-made"),
        ("result.test_accuracy", 87.5),
        ("result.test_accuracy", float("nan")),
        ("steps.planned", 0),
        ("config_hash", "123"),
        ("created", "yesterday"),
        ("seed", -1),
    ],
)
def test_a_bad_field_is_named_with_the_file(path, value):
    with pytest.raises(UserError, match=rf"some/file\.json: field {path}: ."):
        schema.validate(changed(path, value), "some/file.json")


def test_missing_and_unknown_fields_are_refused():
    raw = raw_record()
    del raw["cost"]["seconds_train"]
    with pytest.raises(UserError, match=r"field cost: .*seconds_train"):
        schema.validate(raw)
    with pytest.raises(UserError, match="color"):
        schema.validate(raw_record(color="blue"))


def test_ok_without_a_result_is_refused():
    with pytest.raises(UserError, match="result is null"):
        schema.validate(raw_record(result=None))


def test_a_hash_that_is_not_the_config_s_is_refused():
    with pytest.raises(UserError, match="config_hash"):
        schema.validate(raw_record(config_hash="0123456789ab"))


def test_an_edited_config_is_refused():
    with pytest.raises(UserError, match=r"field differences: model\.d_model is 64, but the config says 65"):
        schema.validate(changed("config.model.d_model", 65))
    with pytest.raises(UserError, match=r"field differences: protocol is missing"):
        schema.validate(changed("config.protocol", "paper"))


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_other_versions_are_refused(version):
    with pytest.raises(UserError, match="schema_version"):
        schema.validate(raw_record(schema_version=version))


def test_an_old_record_is_lifted_step_by_step(monkeypatch):
    def from_minus_one(raw):
        raw["steps"] = raw.pop("updates")
        return raw | {"schema_version": 0}

    def from_zero(raw):
        return raw | {"schema_version": 2, "message": ""}

    monkeypatch.setattr(schema, "UPGRADES", {-1: from_minus_one, 0: from_zero})
    old = raw_record(schema_version=-1)
    old["updates"] = old.pop("steps")
    del old["message"]
    assert schema.validate(old) == schema.validate(raw_record())


def test_a_sound_record_has_no_inconsistency():
    assert schema.inconsistencies(schema.validate(raw_record())) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("steps.done", 11, "more than steps.planned"),
        ("steps.done", 9, "after the last step"),
        ("result.best_step", 11, "best_step"),
        ("data.label_histogram", {"test": [1, 2]}, "adds up to 3"),
        ("data.label_histogram", {"test": [25000]}, "1 labels, not 2"),
    ],
)
def test_contradictions_are_found(path, value, said):
    assert any(said in sentence for sentence in schema.inconsistencies(schema.validate(changed(path, value))))
