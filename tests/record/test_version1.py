"""Records of schema version 1 say the same in version 2, in fields."""

import copy
import json

import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import schema, store, version1

from .samples import raw_record, raw_speed

NEW = ("notes", "differences", "together", "computed", "code", "parts")
SHARED = "beside other runs on the same GPU, so its times are no measure of speed"


def old_record(**changes) -> dict:
    """A record as version 1 wrote it; its config has nested sections to replace."""
    raw = {key: value for key, value in raw_record().items() if key not in NEW}
    raw["device"] = {"platform": "gpu", "kind": "NVIDIA H100", "count": 1}
    raw["config"] = {
        "model": {"mixer": "s5", "scaffold": "glu", "embedding_std": 1.0, "input_dropout": 0.0}
        | {"paper_padding": "nowhere"},
        "mixer": dict(version1.OPTIONS["mixer"]["s5"]),
        "scaffold": dict(version1.OPTIONS["scaffold"]["glu"]),
        "train": {"steps": 10},
    }
    return raw | {"schema_version": 1, "config_hash": "0123456789ab"} | changes


def upgraded(**changes):
    return schema.validate(old_record(**changes))


def with_settings(**settings) -> dict:
    """The config of `old_record` with settings like mixer__blocks; None takes one away."""
    config = copy.deepcopy(old_record()["config"])
    for name, value in settings.items():
        section, _, option = name.partition("__")
        config.setdefault(section, {})[option] = value
        if value is None:
            del config[section][option]
    return config


def test_it_is_named_by_its_differences():
    record = upgraded()
    assert record.differences == {
        "model.mixer": "s5",
        "model.paper_padding": "nowhere",
        "train.steps": 10,
    }
    assert record.config == old_record()["config"] and record.code is None


def test_a_setting_that_it_does_not_have_is_no_difference_only_if_nothing_changed_with_it():
    """So that two records had one name in version 1 if and only if they have one now."""
    plain = upgraded()
    for same in ({"train__lengths": 1}, {"model__precision": "float32"}, {"model__context": 0}):
        assert upgraded(config=with_settings(**same)).config_hash == plain.config_hash
    for other in (
        {"train__lengths": 4},
        {"model__embedding_std": None},
        {"model__input_dropout": None},
        {"mixer__blocks": None},
        {"mixer__blocks": 8},
        {"mixer__feedthrough": True},
    ):
        assert upgraded(config=with_settings(**other)).config_hash != plain.config_hash
    assert upgraded(config=with_settings(mixer__blocks=None)).differences["mixer.blocks"] is None


@pytest.mark.parametrize(
    ("status", "message", "said", "notes", "shared", "together", "parts"),
    [
        ("ok", "", "", [], False, [], []),
        ("ok", SHARED, "", [SHARED], True, [], []),
        ("ok", "by hand", "", ["by hand"], False, [], []),
        (
            "partial",
            f"deadline: checkpoint at step 5 of 10; {SHARED}",
            "deadline: checkpoint at step 5 of 10",
            [SHARED],
            True,
            [],
            [],
        ),
        ("oom", "out of memory; or not", "out of memory; or not", [], False, [], []),
        (
            "ok",
            "one program for seeds 0, 1, 2, so its times are a share and no measure of speed",
            "",
            [],
            False,
            [0, 1, 2],
            [],
        ),
        (
            "diverged",
            "loss is not finite; trained in parts by commit 1b30452a6ea8 on NVIDIA H100 80GB HBM3, "
            "commit dc1345841e7a+dirty on 2 x NVIDIA H200; a note",
            "loss is not finite",
            ["a note"],
            False,
            [],
            [("1b30452a6ea8", False, "NVIDIA H100 80GB HBM3", 1), ("dc1345841e7a", True, "NVIDIA H200", 2)],
        ),
        ("ok", "trained in parts by hand", "", ["trained in parts by hand"], False, [], []),
    ],
)
def test_a_message_becomes_fields(status, message, said, notes, shared, together, parts):
    result = None if status != "ok" else old_record()["result"]
    record = upgraded(status=status, message=message, result=result)
    assert (record.message, record.notes, record.device.shared, record.together) == (said, notes, shared, together)
    assert record.alone is not (shared or bool(together))
    assert [
        (part.revision.commit, part.revision.dirty, part.device.kind, part.device.count) for part in record.parts
    ] == parts


@pytest.mark.parametrize(
    ("settings", "platform", "computed"),
    [
        ({"model__mixer": "attention"}, "gpu", {"attention": "bfloat16"}),
        ({"model__mixer": "attention"}, "cpu", {}),
        ({"model__mixer": "attention", "model__precision": "bf16"}, "gpu", {}),
        ({"model__mixer": "attention", "mixer__window": 8, "task__max_length": 64}, "gpu", {}),
        ({"model__mixer": "attention", "mixer__window": 64, "task__max_length": 64}, "gpu", {"attention": "bfloat16"}),
        ({"model__scaffold": "griffin", "model__layers": 2}, "gpu", {}),
        (
            {"model__scaffold": "griffin", "model__layers": 6, "mixer__bidirectional": False},
            "gpu",
            {"attention": "bfloat16"},
        ),
        ({}, "gpu", {}),
    ],
)
def test_attention_that_was_computed_in_half_precision_says_so(settings, platform, computed):
    device = {"platform": platform, "kind": "some", "count": 1}
    assert upgraded(config=with_settings(**settings), device=device).computed == computed


@pytest.mark.parametrize("spoiled", ["config", "message", "device", "status"])
@pytest.mark.parametrize("value", [None, [], 3, "text"])
def test_what_is_no_record_is_refused(spoiled, value):
    if (spoiled, value) == ("message", "text"):
        return
    with pytest.raises(UserError):
        upgraded(**{spoiled: value})


def test_files_move_to_their_places(tmp_path):
    old = tmp_path / "runs" / "budget" / "text" / "s5" / "0123456789ab-s3.json"
    store.write_text(json.dumps(old_record()), old)
    with pytest.raises(UserError, match="belongs at"):
        store.read_all(tmp_path)
    record = store.read(old)
    new = store.home(record, tmp_path)
    assert store.migrate(tmp_path) == [(old, new)]
    assert store.read_all(tmp_path) == [record] and not old.exists()
    assert store.migrate(tmp_path) == []


def test_no_file_is_overwritten_by_another(tmp_path):
    place = store.write(schema.validate(raw_record()), tmp_path)
    copy_ = place.with_name("copy.json")
    copy_.write_bytes(place.read_bytes())
    with pytest.raises(UserError, match="another file"):
        store.migrate(tmp_path)
    assert copy_.exists() and place.exists()


def old_speed(measurements, **changes) -> dict:
    """A speed record as version 1 wrote it."""
    new = ("benchmark", "sizes", "measurements")
    raw = {key: value for key, value in raw_speed().items() if key not in new}
    device = {"platform": "gpu", "kind": "NVIDIA H100", "count": 1}
    return raw | {"schema_version": 1, "measurements": measurements, "device": device} | changes


def row(metric, value, backend="", shape=()) -> schema.Measurement:
    return schema.Measurement(metric=metric, backend=backend, shape=[*shape], value=value)


@pytest.mark.parametrize(
    ("benchmark", "measurements", "expected", "sizes"),
    [
        ("step", {"step_ms": 1.0, "batch_size": 4}, [row("step_ms", 1.0)], {"batch_size": 4}),
        (
            "epoch",
            {"epoch_step_ms": 1.0, "lengths": 4, "length": 2048},
            [row("epoch_step_ms", 1.0), row("lengths", 4)],
            {"length": 2048},
        ),
        (
            "compare",
            {"auto_step_ms": 1.0, "auto_times_faster": 2.0, "associative_step_ms_one_per_call": 2.0, "layers": 2},
            [
                row("step_ms_one_per_call", 2.0, "associative"),
                row("step_ms", 1.0, "auto"),
                row("times_faster", 2.0, "auto"),
            ],
            {"layers": 2},
        ),
        (
            "length",
            {"step_ms_at_1024": 3.0, "step_ms_at_64": 1.0, "batch_size_at_64": 2, "tokens": 1024},
            [row("batch_size", 2, shape=[64]), row("step_ms", 1.0, shape=[64]), row("step_ms", 3.0, shape=[1024])],
            {"tokens": 1024},
        ),
        (
            "scan",
            {"fused_forward_ms_at_2x3x4": 1.0, "fused_forward_backward_ms_at_2x3x4": None},
            [row("forward_backward_ms", None, "fused", [2, 3, 4]), row("forward_ms", 1.0, "fused", [2, 3, 4])],
            {},
        ),
        (
            "stream",
            {"parameters": 7, "latency_ms_one_per_call_at_64": 1.0},
            [row("parameters", 7), row("latency_ms_one_per_call", 1.0, shape=[64])],
            {},
        ),
        ("step", {"a_number_of_one's_own": 1.0, "step_ms_at_noon": 2.0}, None, {}),
    ],
)
def test_names_of_numbers_become_fields(benchmark, measurements, expected, sizes):
    raw = old_speed(measurements, operation="rg_lru") if benchmark == "scan" else old_speed(measurements)
    if expected is None:
        with pytest.raises(UserError):
            schema.validate_speed(raw)
        return
    record = schema.validate_speed(raw)
    assert (record.benchmark, record.measurements, record.sizes) == (benchmark, expected, sizes)


@pytest.mark.parametrize(
    ("note", "field", "value"),
    [
        ("with --config.model.d_model=8 --protocol=paper", "overrides", {"config.model.d_model": "8"}),
        ("the fastest of at least 3 runs on this kind of device", "runs", 3),
        ("with the authors' CUDA extension for kernels", "notes", ["with the authors' CUDA extension for kernels"]),
    ],
)
def test_notes_on_a_benchmark_become_fields(note, field, value):
    record = schema.validate_speed(old_speed({"step_ms": 1.0}, notes=[note]))
    value = value | {"protocol": "paper"} if field == "overrides" else value
    assert getattr(record, field) == value and record.notes == (value if field == "notes" else [])
    assert not record.device.shared


def test_a_benchmark_next_to_other_runs_is_shared():
    note = "other processes compiled on the same GPU at that time: alone it may be faster"
    record = schema.validate_speed(old_speed({"step_ms": 1.0}, notes=[note]))
    assert record.device.shared and record.notes == [note]


@pytest.mark.parametrize(
    ("spoiled", "value"), [("measurements", []), ("measurements", {}), ("notes", 3), ("device", 1)]
)
def test_what_is_no_speed_record_is_refused(spoiled, value):
    with pytest.raises(UserError):
        schema.validate_speed(old_speed({"step_ms": 1.0}) | {spoiled: value})


def test_old_speed_records_are_rewritten_once(tmp_path):
    path = tmp_path / "speed" / "step-s5-text-cpu.json"
    store.write_text(json.dumps(old_speed({"step_ms": 1.0})), path)
    record = store.read_speed(path)
    assert store.migrate(tmp_path) == [(path, path)] and store.migrate(tmp_path) == []
    assert store.read_speed(path) == record and json.loads(path.read_text())["schema_version"] == 2
