"""Data on the host: the same run, to the bit, as with all data on the device."""

import jax
import numpy as np
import pytest

from ssm_bench.training import sources
from ssm_bench.training.run import make_trainer
from ssm_bench.training.sources import Resident, Streamed, source_of

from .test_loop import StopAfter, config_of, essence, run_in

pytestmark = pytest.mark.usefixtures("shared_programs")

HOST = "--config.train.data_on=host"


@pytest.mark.parametrize(
    ("model", "task", "overrides"),
    [
        # Documents as long as the task has them, of several lengths, and batch statistics of further batches before
        # each validation.
        (
            "lru",
            "listops",
            ("--config.task.max_length=0", "--config.train.lengths=2", "--config.train.norm_batches=2"),
        ),
        # A last chunk of another size.
        ("lru", "retrieval", ("--config.train.chunk=3",)),
        ("lru", "image", ()),
    ],
)
def test_a_run_with_its_data_on_the_host_has_the_bits_of_one_with_them_on_the_device(tmp_path, model, task, overrides):
    config, dataset = config_of(*overrides, model=model, task=task)
    on_device = run_in(tmp_path / "device", config, dataset)
    config.train.data_on = "host"
    part = run_in(tmp_path / "host", config, dataset, StopAfter(1))
    on_host = run_in(tmp_path / "host", config, dataset)
    assert part.status == "partial" and on_device.status == "ok"
    assert essence(on_host) == essence(on_device)
    # It is the same run, by its name, too.
    assert on_host.config_hash == on_device.config_hash


def test_seeds_together_have_the_bits_too():
    losses = []
    for data_on in ("device", "host"):
        config, dataset = config_of(f"--config.train.data_on={data_on}", model="gru")
        trainer = make_trainer(config, dataset, seeds=(1, 2))
        state = trainer.program.initial_state()
        examples, sizes = trainer.order.batches(0, 2)
        data, places = trainer.source.take(examples)
        assert data["tokens"].shape[0] == (places.size if data_on == "host" else len(dataset.offsets) - 1)
        losses.append(trainer.program.train(state, data, places, sizes, trainer.padded)[1])
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("task", ["text", "retrieval"])
def test_a_streamed_call_holds_its_examples_and_no_others(task):
    config, dataset = config_of(HOST, task=task)
    trainer = make_trainer(config, dataset)
    tokens, lengths = dataset.padded()
    examples, _ = trainer.order.batches(3, 4)
    data, places = trainer.source.take(examples)
    assert places.shape == examples.shape and len(data["labels"]) == examples.size
    np.testing.assert_array_equal(data["labels"][places], dataset.labels[examples])
    documents, expected = data["documents"][places], dataset.documents[examples]
    np.testing.assert_array_equal(data["tokens"][documents], tokens[expected])
    np.testing.assert_array_equal(data["lengths"][documents], lengths[expected])
    shapes, _ = trainer.source.like(examples)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), shapes) == jax.tree.map(lambda a: (a.shape, a.dtype), data)


def test_the_next_call_is_read_ahead_and_any_other_may_follow(monkeypatch):
    config, dataset = config_of(HOST)
    trainer = make_trainer(config, dataset)
    loaded, real = [], Streamed._load

    def load(self, examples):
        loaded.append(examples)
        return real(self, examples)

    monkeypatch.setattr(Streamed, "_load", load)
    first, second, third = (trainer.order.batches(step, 2)[0] for step in (0, 2, 4))
    trainer.source.take(first, second)
    trainer.source.take(third)
    data, places = trainer.source.take(second)
    # Each was read once.
    assert sorted(map(id, loaded)) == sorted(map(id, (first, second, third)))
    np.testing.assert_array_equal(data["labels"][places], dataset.labels[second])


def test_auto_keeps_on_the_host_what_would_take_a_quarter_of_the_device(monkeypatch):
    config, dataset = config_of()
    placement = make_trainer(config, dataset).program.placement
    needed = (len(dataset.offsets) - 1) * dataset.spec.max_length * dataset.values.itemsize
    for memory, kind in ((4 * needed, Resident), (4 * needed - 4, Streamed)):
        monkeypatch.setattr(sources, "device_memory", lambda memory=memory: memory)
        assert type(source_of(dataset, placement, "auto")) is kind
        assert type(source_of(dataset, placement, "host")) is Streamed
        assert type(source_of(dataset, placement, "device")) is Resident


def test_another_place_is_one_sentence(command):
    code, _, errors = command("train", "--model", "lru", "--task", "text", "--config.train.data_on=disk")
    assert code == 2
    assert errors.startswith("error: unknown --config.train.data_on 'disk'") and errors.count("\n") == 1
