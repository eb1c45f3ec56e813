"""Records are found where they were written, and a crash leaves no half of one."""

import os

import pytest

from ssm_bench.errors import UserError
from ssm_bench.record import store
from ssm_bench.record.schema import validate, validate_speed

from .samples import raw_record, raw_speed


def test_write_read_find(tmp_path):
    record = validate(raw_record())
    path = store.write(record, tmp_path)
    assert path == tmp_path / "runs" / "budget" / "text" / "s5" / f"{record.config_hash}-0f0f0f0f-s3.json"
    assert path == store.run_path(tmp_path, "budget", "text", "s5", record.name)
    assert store.read(path) == record
    assert store.find(tmp_path, "budget", "text", "s5", record.name) == record
    assert store.find(tmp_path, "budget", "text", "s5", "another") is None


def test_the_same_recipe_on_other_data_is_another_file(tmp_path):
    raw = raw_record()
    first = store.write(validate(raw), tmp_path)
    second = store.write(validate(raw | {"data": raw["data"] | {"checksum": "abcdef012345"}}), tmp_path)
    assert first != second and len(store.read_all(tmp_path)) == 2


def test_read_all_and_by_preset(tmp_path):
    assert store.read_all(tmp_path) == []
    for preset in ("quick", "budget"):
        store.write(validate(raw_record(preset=preset)), tmp_path)
    assert [record.preset for record in store.read_all(tmp_path)] == ["budget", "quick"]
    assert [record.preset for record in store.read_all(tmp_path, "quick")] == ["quick"]


def test_speed_records_live_apart(tmp_path):
    record = validate_speed(raw_speed())
    assert store.write_speed(record, tmp_path) == tmp_path / "speed" / "step-s5-text-cpu.json"
    assert store.read_all_speed(tmp_path) == [record]


def test_a_speed_record_replaces_none_of_another_kind_of_device(tmp_path):
    first = validate_speed(raw_speed())
    other = validate_speed(raw_speed(device=raw_speed()["device"] | {"kind": "Another (R) CPU @ 2 GHz"}))
    assert store.apart_by_device(other, tmp_path) == other
    path = store.write_speed(first, tmp_path)
    assert store.apart_by_device(first, tmp_path) == first
    apart = store.apart_by_device(other, tmp_path)
    assert store.write_speed(apart, tmp_path).name == "step-s5-text-cpu-another-r-cpu-2-ghz.json"
    assert store.read_all_speed(tmp_path) == [apart, first]
    path.write_text("{")
    assert store.apart_by_device(other, tmp_path) == other
    assert store.read_all(tmp_path) == []


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = store.write(validate(raw_record(message="old")), tmp_path)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(validate(raw_record(message="new")), tmp_path)
    assert store.read(path).message == "old"
    assert os.listdir(path.parent) == [path.name]


def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for name in ("pipe", "link"):
        with pytest.raises(UserError, match=f"cannot write the file .*{name}: there is something else than a file"):
            store.write_text("text", tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("text", ["{", "[1]", "\xff", "[" * 100_000, "9" * 5000, '{"schema_version": []}'])
def test_what_is_no_record_is_refused_with_its_path(tmp_path, text):
    path = tmp_path / "runs" / "bad.json"
    path.parent.mkdir()
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"bad\.json"):
        store.read_all(tmp_path)


def test_a_copy_is_no_second_seed(tmp_path):
    path = store.write(validate(raw_record()), tmp_path)
    copy = path.with_name("copy.json")
    copy.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=rf"{copy}: belongs at {path}"):
        store.read_all(tmp_path)
