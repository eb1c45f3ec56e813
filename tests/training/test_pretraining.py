"""Self-pretraining: what is predicted, which inputs are read, and that fine-tuning starts from the weights."""

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.api import train
from ssm_bench.cli import main
from ssm_bench.config import experiment
from ssm_bench.data import spec
from ssm_bench.errors import UserError
from ssm_bench.network.build import split
from ssm_bench.record import store
from ssm_bench.report.layout import table_with
from ssm_bench.sweep.cells import opened
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training import pretrained, pretraining
from ssm_bench.training.loop import Trainer
from ssm_bench.training.run import make_model, make_program, make_trainer, run
from ssm_bench.training.stop import Stop

from .sharing import shared

SIZES = (
    *("--config.train.steps=20", "--config.train.evaluations=2", "--config.train.chunk=5"),
    *("--config.model.d_model=8", "--config.model.layers=1"),
    *("--config.task.max_length=64", "--config.task.examples=200"),
)
CAUSAL = ("--config.mixer.bidirectional=False",)
QUICK = ("--preset", "quick", "--data", "synthetic", *SIZES)

# Sums of a few dozen float32 numbers.
FLOAT32 = 1e-5


class StopAfter(Stop):
    """Requests a stop after some chunks of one program."""

    def __init__(self, chunks):
        super().__init__()
        self.left = chunks + 1

    def reason(self, ahead=None):
        if ahead is not None:
            self.left -= 1
        return "deadline" if self.left < 0 else ""


def silent(step, steps, rate, words):
    pass


def config_of(*overrides, model="s4", task="text", objective="masked", rate=None, seed=1):
    settings = {"preset": "quick", "data": "synthetic", "overrides": SIZES + overrides, "pretraining": True}
    config = resolve(model, task, seed=seed, **settings)
    return opened(pretraining.with_objective(config, spec(task).kind, objective, rate))


def attempt(folder, config, dataset, stop=None):
    where = {"folder": folder / "weights", "checkpoints": folder / "ckpt"}
    return pretraining.pretrain(config, dataset, **where, stop=stop or Stop(), tell=silent)


def weights_of(folder, config, dataset):
    assert attempt(folder, config, dataset).status == "ok"
    return pretrained.read(folder / "weights")


@pytest.fixture(scope="module", autouse=True)
def _shared_programs(shared_programs):
    """Pretrainings of equal settings share programs, as runs do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "make_program", shared(pretraining.make_program))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, _shared_programs):
    """Weights of a tiny pretraining."""
    root = tmp_path_factory.mktemp("pretrained")
    weights_of(root, *config_of())
    return root / "weights"


@pytest.mark.parametrize(
    ("model", "task", "objective", "overrides"),
    [
        ("s4", "image", "causal", CAUSAL),
        ("transformer", "retrieval", "masked", ("--config.model.pooling=cls",)),
    ],
)
def test_the_loss_decreases(tmp_path, model, task, objective, overrides):
    config, dataset = config_of(*overrides, "--config.train.steps=60", model=model, task=task, objective=objective)
    weights = weights_of(tmp_path, config, dataset)
    first, last = (point["train_loss"] for point in weights.record["curve"])
    assert last < first - 0.05
    held_out = weights.record["held_out"]
    assert held_out["inputs"] == 10 and np.isfinite(held_out["loss"])
    assert weights.record["objective"] == objective
    assert weights.record["mask_rate"] == (0.15 if objective == "masked" else 0)


def naive_scores(logits, inputs, lengths, hidden):
    """Accuracy and loss sums and the count of predictions, position by position."""
    sums = np.zeros(3)
    for row, t in np.ndindex(inputs.shape):
        counts = hidden[row, t] if hidden is not None else t + 1 < lengths[row]
        if t < lengths[row] and counts:
            target = inputs[row, t if hidden is not None else t + 1]
            shifted = logits[row, t] - logits[row, t].max()
            sums += [logits[row, t].argmax() == target, np.log(np.exp(shifted).sum()) - shifted[target], 1]
    return sums


@pytest.mark.parametrize("masked", [True, False])
def test_predictions_count_at_hidden_positions_or_before_the_end_only(masked):
    random = np.random.default_rng(0)
    logits, inputs = random.normal(size=(3, 7, 5)), random.integers(0, 5, (3, 7))
    lengths, hidden = np.array([7, 1, 4]), random.random((3, 7)) < 0.4
    hidden = hidden if masked else None
    given = jnp.asarray(logits), jnp.asarray(inputs), jnp.asarray(lengths)
    found = pretraining.scores(*given, None if hidden is None else jnp.asarray(hidden))
    expected = naive_scores(logits, inputs, lengths, hidden)
    np.testing.assert_allclose([x.sum() for x in found], expected, rtol=FLOAT32)


def test_a_hidden_input_reaches_no_prediction_and_a_later_one_no_causal_prediction():
    for objective, overrides in (("masked", ()), ("causal", CAUSAL)):
        config, dataset = config_of(*overrides, task="image", objective=objective)
        model = pretraining.make_denoiser(config, dataset)
        inputs = np.random.default_rng(0).integers(0, 256, (1, 64)).astype(np.uint8)
        other = inputs.copy()
        other[0, 20] ^= 255
        hidden = jnp.asarray(np.arange(64) == 20)[None] if objective == "masked" else None
        run = jax.jit(lambda x, model=model, hidden=hidden: model(x, None, hidden))
        before, after = run(inputs), run(other)
        told = 64 if objective == "masked" else 20
        np.testing.assert_allclose(after[:, :told], before[:, :told], rtol=FLOAT32, atol=FLOAT32)
        if objective == "causal":
            assert jnp.abs(after[:, 20:] - before[:, 20:]).max() > 0.01


def test_only_training_inputs_are_read(tmp_path):
    config, dataset = config_of()
    inputs = pretraining.training_inputs(dataset)
    assert len(inputs.labels) == len(dataset.splits["train"]) == 200
    scored, trained = set(inputs.splits["test"]), set(inputs.splits["train"])
    assert scored | trained == set(range(200)) and not scored & trained
    # Validation and test inputs replaced by others, and every label.
    corpus = dataset.corpus
    strange, training = np.full_like(corpus.values, 3), corpus.documents[dataset.splits["train"]].ravel()
    for i in training:
        strange[corpus.offsets[i] : corpus.offsets[i + 1]] = corpus.values[corpus.offsets[i] : corpus.offsets[i + 1]]
    changed = replace(dataset, corpus=replace(corpus, values=strange, labels=np.zeros_like(corpus.labels)))
    assert (strange != corpus.values).any()
    first = weights_of(tmp_path / "a", config, dataset)
    second = weights_of(tmp_path / "b", config, changed)
    assert first.record["checksum"] == second.record["checksum"]


def test_fine_tuning_starts_from_the_weights_bit_for_bit(tmp_path):
    config, dataset = config_of()
    weights = weights_of(tmp_path, config, dataset)
    tuned = resolve("s4", "text", preset="quick", data="synthetic", seed=5, overrides=SIZES)
    tuned = weights.continued(opened(tuned)[0], dataset)
    trainer = make_trainer(
        tuned, dataset, make=lambda config, dataset, devices: make_program(config, dataset, init=weights.into)
    )
    state = trainer.program.initial_state()
    found = pretrained.flat({"params": state.params, "stats": state.stats})
    fresh = pretrained.flat({"params": split(make_model(tuned, dataset)).params})
    given = {pretrained.name_of_path(path): array for path, array in weights.arrays.items()}
    for name in found:
        if ".head." in name:
            np.testing.assert_array_equal(found[name], fresh[name])
        else:
            np.testing.assert_array_equal(found[name], given[name], strict=True)
    assert {name for name in found if ".head." not in name} == set(given)
    changed = [name for name in given if name in fresh and not np.array_equal(given[name], fresh[name])]
    assert "params.encoder.table" in changed and len(changed) > 5


def test_hidden_inputs_do_not_depend_on_where_the_data_are(tmp_path):
    scores = []
    for data_on in ("device", "host"):
        outcome = attempt(tmp_path / data_on, *config_of(f"--config.train.data_on={data_on}"))
        scores.append([outcome.result, [{**point, "seconds": 0} for point in outcome.curve]])
    assert scores[0] == scores[1]


def test_microbatches_and_segments_are_refused():
    with pytest.raises(UserError, match="^train.accumulate must be 1 in a pretraining, .*; got 2$"):
        config_of("--config.train.accumulate=2", "--config.model.norm=layer")
    with pytest.raises(UserError, match="^train.segment must be 0 in a pretraining; got 8$"):
        config_of("--config.train.segment=8", "--config.model.norm=layer", "--config.mixer.bidirectional=false")


def test_a_stopped_pretraining_resumes_to_the_same_bits(tmp_path):
    config, dataset = config_of()
    whole = weights_of(tmp_path / "whole", config, dataset)
    outcome = attempt(tmp_path / "parts", config, dataset, StopAfter(2))
    assert outcome.status == "partial" and "checkpoint at step 10 of 20" in outcome.message
    assert not (tmp_path / "parts" / "weights").exists()
    parts = weights_of(tmp_path / "parts", config, dataset)
    assert parts.record["checksum"] == whole.record["checksum"]


def test_a_kill_before_the_weights_are_written_costs_nothing(tmp_path, monkeypatch):
    config, dataset = config_of()
    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "write", lambda *arguments, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            attempt(tmp_path, config, dataset)
    # No step is left to train: only the checkpoint is read, scored and written.
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_chunk", None)
        weights = weights_of(tmp_path, config, dataset)
    assert weights.record["checksum"] == weights_of(tmp_path / "other", config, dataset).record["checksum"]


def test_a_stopped_fine_tuning_resumes_to_the_same_record(folder, tmp_path):
    weights = pretrained.read(folder)
    config, dataset = opened(resolve("s4", "text", preset="quick", data="synthetic", seed=2, overrides=SIZES))
    config = weights.continued(config, dataset)

    def tuned(place, stop):
        where = {"results": tmp_path / place / "results", "checkpoints": tmp_path / place / "ckpt"}
        return run(config, dataset, **where, stop=stop, tell=silent, init=weights.into)[0]

    whole = tuned("whole", Stop())
    assert tuned("parts", StopAfter(2)).status == "partial"
    parts = tuned("parts", Stop())
    assert parts.status == "ok" and parts.result == whole.result
    losses = [[point.train_loss for point in record.curve] for record in (whole, parts)]
    assert losses[0] == losses[1]
    # The same from Python.
    sections: dict[str, Any] = {}
    for argument in SIZES:
        name, value = argument.removeprefix("--config.").split("=")
        section, setting = name.split(".")
        sections.setdefault(section, {})[setting] = int(value)
    places: dict[str, Any] = {"results": tmp_path / "api" / "results", "checkpoints": tmp_path / "api" / "ckpt"}
    choices: dict[str, Any] = {"preset": "quick", "data": "synthetic", "seed": 2, "init_from": folder}
    again = train("s4", "text", **choices, **places, **sections).record
    assert (again.preset, again.config_hash, again.result) == (whole.preset, whole.config_hash, whole.result)


@pytest.mark.parametrize("model", ["s4", "rotary_transformer"])
def test_every_schedule_of_pretraining_resolves(model):
    for task in experiment(model).PRETRAINING:
        config = resolve(model, task, pretraining=True)
        assert config.train.steps == config.train.published_steps > 0
        assert 0 < config.pretraining.mask_rate < 1
        assert config.report.published_row in ("", "S4 + self-pretraining")


def command(verb, *arguments):
    return main([verb, "--model", "s4", "--task", "text", *QUICK, *arguments])


def test_both_commands_their_record_and_its_table(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("pretrain", "--mask-rate", "0.3", "--out", "w") == 0
    assert "wrote w" in capsys.readouterr().out
    assert command("pretrain", "--mask-rate", "0.3", "--out", "w") == 0
    assert "finished before" in capsys.readouterr().out
    assert command("pretrain", "--out", "w") == 2
    assert "holds weights with pretraining.mask_rate 0.3, not 0.15" in capsys.readouterr().err
    # A deadline that leaves no time stops the second stage; the same command continues it.
    assert command("train", "--init-from", "w", "--deadline", "1s") == 3
    assert command("train", "--init-from", "w") == 0
    assert command("train") == 0
    told = json.loads((tmp_path / "w" / "pretraining.json").read_text())
    ours, plain = sorted(store.read_all("results"), key=lambda record: record.preset != "pretrained-quick")
    stated = {name: told[name] for name in ("objective", "mask_rate", "steps", "seed", "checksum")}
    assert ours.config["pretraining"] == stated and stated["steps"] == 20
    assert {name for name in ours.differences if name.startswith("pretraining.")}
    assert any(note.startswith("weights from masked pretraining, 20 steps, seed 0") for note in ours.notes)
    assert ours.config_hash != plain.config_hash
    assert ours.model.title == "S4 (pretrained)"
    # Not the number of S4 from scratch.
    assert ours.model.published and ours.model.published.row == "S4 + self-pretraining"
    assert (table_with(ours), table_with(plain)) == ("pretrained-quick", "quick")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config.model.d_model=16",), "is a pretraining with model.d_model 8; in this run it is 16"),
        (("--config.mixer.bidirectional=False",), "pretraining with mixer.bidirectional True; in this run it is False"),
        (("--config.task.tokens=bytes",), "is a pretraining with task.tokens 'characters'; in this run it is 'bytes'"),
        (("--config.task.examples=100",), "is a pretraining with task.examples 200; in this run it is 100"),
        (("--protocol", "lra"), "is a pretraining with protocol 'strict'; in this run it is 'lra'"),
        (
            ("--config.pretraining.steps=3",),
            "pretraining.steps cannot be changed with --config: use --init-from of ssm-bench",
        ),
    ],
)
def test_weights_of_another_pretraining_are_refused(folder, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert command("train", "--init-from", str(folder), *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_weights_with_another_vocabulary_or_other_arrays_are_refused(folder):
    config, dataset = config_of()
    weights = pretrained.read(folder)
    other = replace(weights, record=weights.record | {"vocabulary": ["<pad>", "a"]})
    with pytest.raises(UserError, match="a vocabulary of 2 tokens; this run has another of"):
        other.continued(config, dataset)
    wider = resolve("s4", "text", preset="quick", data="synthetic", overrides=(*SIZES, "--config.model.d_model=16"))
    with pytest.raises(UserError, match=r"array params\.blocks\..* is \(8,.*; this model has \(16,"):
        weights.into(split(make_model(opened(wider)[0], dataset)))


def test_damaged_or_missing_weights_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="holds no pretrained weights: No such file"):
        pretrained.read(tmp_path)
    for name in (pretrained.ARRAYS, pretrained.RECORD):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with (tmp_path / pretrained.ARRAYS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    with pytest.raises(UserError, match="has changed since it was written"):
        pretrained.read(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--objective", "next"), "unknown --objective 'next'"),
        (("--preset", "paper"), "unknown --preset of pretrain 'paper'"),
        (("--mask-rate", "1"), "--mask-rate is a share of the positions in (0, 1); got 1.0"),
        (("--objective", "causal", "--mask-rate", "0.5"), "--mask-rate is for the objective masked"),
        (("--objective", "causal"), "needs a causal model, such as one with mixer.bidirectional=False"),
    ],
)
def test_impossible_pretrainings_get_one_sentence(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert command("pretrain", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
