"""Self-pretraining: a model learns to predict the training inputs of its task, and then starts from these weights.

Source: Amos, Berant and Gupta 2023, "Never train from scratch" (arXiv 2310.02980).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from ssm_bench.data import Dataset
from ssm_bench.errors import SettingError
from ssm_bench.network.build import GRAY_LEVELS, Split, split
from ssm_bench.network.denoiser import Denoiser
from ssm_bench.ops.sharding import divided
from ssm_bench.training import pretrained
from ssm_bench.training.checkpoint import Checkpoints, reserved
from ssm_bench.training.checks import writable
from ssm_bench.training.devices import place
from ssm_bench.training.optimizer import make_optimizer
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.run import checkpoint_folder, make_model, make_trainer
from ssm_bench.training.sources import DeviceData
from ssm_bench.training.step import Program, TrainState
from ssm_bench.training.stop import Stop

#: Default share of hidden positions for each kind of task, as in the paper.
MASK_RATES = {"pixels": 0.5, "tokens": 0.15}

#: One in this many training inputs is held out of pretraining for scoring, but at most HELD_OUT.
ONE_IN, HELD_OUT = 20, 1_000

#: Hidden positions of scored inputs are the same at every evaluation.
SCORING_SEED = 0


class PretrainingProgram(Program):
    """The programs of pretraining, like those of training, but with a loss over positions instead of labels."""

    def __init__(self, model: Split, optimizer: optax.GradientTransformation, *, mask_rate: float, **shared: Any):
        """Takes the share of hidden positions, 0 for the causal objective; other arguments as for `Program`."""
        self.mask_rate = mask_rate
        super().__init__(model, optimizer, **shared)

    def gradients_with(
        self, seed: int | jax.Array, data: DeviceData, length: int, state: TrainState, examples: jax.Array
    ) -> tuple[Any, Any, Any]:
        """As in training; loss and accuracy are means over the predicted positions of the batch."""
        key, mask_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.step))
        inputs, lengths = self.inputs(data, examples, length)
        hidden = jax.random.bernoulli(mask_key, self.mask_rate, inputs.shape) if self.mask_rate else None

        def loss_of(params):
            logits, stats = self.predict(params, state.stats, inputs, lengths, hidden, train=True, key=key)
            correct, losses, weights = scores(logits, inputs, lengths, hidden)
            count = jnp.maximum(weights.sum(), 1)
            return losses.sum() / count, (stats, correct.sum() / count)

        (loss, (stats, accuracy)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        return gradients, stats, jnp.stack([loss, accuracy])

    def logits(
        self,
        params: Any,
        stats: Any,
        data: DeviceData,
        examples: jax.Array,
        length: int,
        *,
        train: bool,
        key: jax.Array | None = None,
        running: bool = True,
    ):
        """Logits (b, l, values) of examples, with positions hidden as for scoring, and batch statistics."""
        inputs, lengths = self.inputs(data, examples, length)
        hidden = self.hidden_for_scoring(data["numbers"][examples], inputs.shape)
        return self.predict(params, stats, inputs, lengths, hidden, train=train, key=key, running=running)

    def _evaluate(
        self, params: Any, stats: Any, data: DeviceData, batches: jax.Array, weights: jax.Array, length: int
    ) -> jax.Array:
        """Sums over batches (k, b) of this length: correct predictions, losses and predictions, as (3,) float32."""

        def one(sums, batch):
            examples, weight = batch
            inputs, lengths = self.inputs(data, examples, length)
            hidden = self.hidden_for_scoring(data["numbers"][examples], inputs.shape)
            logits, _ = self.predict(params, stats, inputs, lengths, hidden, train=False)
            of_examples = jnp.repeat(weight, len(inputs) // len(examples))
            found = [(x.sum(1) * of_examples).sum() for x in scores(logits, inputs, lengths, hidden)]
            return sums + jnp.stack(found), None

        with divided(self.placement.mesh):
            return jax.lax.scan(one, jnp.zeros(3), (batches, weights))[0]

    def inputs(self, data: DeviceData, examples: jax.Array, length: int) -> tuple[jax.Array, jax.Array | None]:
        """The documents of examples (b,), one after another, cut to `length`, and their lengths."""
        documents = data["documents"][examples].reshape(-1)
        return data["tokens"][documents][:, :length], data["lengths"][documents] if self.ragged else None

    def hidden_for_scoring(self, examples: jax.Array, shape: tuple[int, ...]) -> jax.Array | None:
        """The hidden positions of the documents of examples, given by their numbers in the data set."""
        if not self.mask_rate:
            return None
        of_example = (shape[0] // len(examples), shape[1])

        def drawn(example):
            key = jax.random.fold_in(jax.random.key(SCORING_SEED), example)
            return jax.random.bernoulli(key, self.mask_rate, of_example)

        return jax.vmap(drawn)(examples).reshape(shape)

    def predict(self, params, stats, inputs, lengths, hidden, *, train, key=None, running=True):
        """Logits (b, l, values), and the batch statistics after the call, as in `Program.logits`."""
        model = self.merged(params, stats, running=running)
        logits = model(inputs, lengths, hidden, train=train, key=key)
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))


def scores(
    logits: jax.Array, inputs: jax.Array, lengths: jax.Array | None, hidden: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scores the predictions of inputs.

    Args:
        logits: (b, l, values).
        inputs: (b, l) integers.
        lengths: (b,) unpadded lengths; None: no padding.
        hidden: (b, l) bool: these positions are predicted; None: each position predicts the next one.

    Returns:
        Correct predictions, cross-entropies and weights (b, l). All are zero at positions without a prediction: at
        padding, at positions that are not hidden, or at the last position of a document.
    """
    positions = jnp.arange(inputs.shape[1])
    ends = jnp.full(len(inputs), inputs.shape[1]) if lengths is None else lengths
    if hidden is None:
        targets, counts = jnp.roll(inputs, -1, axis=1), positions + 1 < ends[:, None]
    else:
        targets, counts = inputs, hidden & (positions < ends[:, None])
    targets = targets.astype(jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    correct = (logits.argmax(-1) == targets).astype(jnp.float32)
    return jnp.where(counts, correct, 0.0), jnp.where(counts, losses, 0.0), counts.astype(jnp.float32)


def training_inputs(dataset: Dataset) -> Dataset:
    """The training examples of a data set, some of which are held out for scoring.

    The result contains neither the validation nor the test split of the data set. It has the splits "train",
    "validation" and "test"; the latter two are the same held-out training examples.
    """
    examples = np.sort(dataset.splits["train"])
    corpus = dataset.corpus.compact(examples, dataset.spec.max_length)
    order = np.random.default_rng(SCORING_SEED).permutation(len(examples))
    held_out = min(HELD_OUT, max(1, len(examples) // ONE_IN))
    scored, trained = np.sort(order[:held_out]), np.sort(order[held_out:])
    return replace(dataset, corpus=corpus, splits={"train": trained, "validation": scored, "test": scored})


def with_objective(config: ConfigDict, kind: str, objective: str, mask_rate: float | None = None) -> ConfigDict:
    """The configuration of a pretraining.

    Args:
        config: the configuration of the model on the task.
        kind: the kind of the task, "tokens" or "pixels".
        objective: "masked" or "causal".
        mask_rate: share of hidden positions; None: the recipe's, or that of MASK_RATES.

    Raises:
        SettingError: the configuration has gradient accumulation, segments or a divided time axis.
    """
    if config.train.segment:
        raise SettingError("train.segment", f"must be 0 in a pretraining; got {config.train.segment}")
    if config.train.divide != "batch":
        raise SettingError("train.divide", f"must be batch in a pretraining; got {config.train.divide}")
    if config.train.accumulate > 1:
        what = "must be 1 in a pretraining, whose loss is a mean over the predicted positions of the whole batch; got"
        raise SettingError("train.accumulate", f"{what} {config.train.accumulate}")
    config = config.copy_and_resolve_references()
    rate = config.pretraining.mask_rate if mask_rate is None else mask_rate
    config.pretraining.objective = objective
    config.pretraining.mask_rate = 0.0 if objective == "causal" else rate or MASK_RATES[kind]
    return config


def make_denoiser(config: ConfigDict, dataset: Dataset) -> Denoiser:
    """The model of a pretraining, with its initial values.

    Raises:
        UserError: an invalid setting, or a causal objective for a model that is not causal.
    """
    tower = make_model(config, dataset)
    rngs = nnx.Rngs(jax.random.fold_in(jax.random.key(config.seed), 1))
    return Denoiser(tower, dataset.vocab_size or GRAY_LEVELS, config.pretraining.objective, rngs=rngs)


def make_program(config: ConfigDict, dataset: Dataset, *, devices: int = 1) -> PretrainingProgram:
    """The compiled programs of a pretraining on so many devices; raises as `make_denoiser`."""
    model = split(make_denoiser(config, dataset))
    return PretrainingProgram(
        model,
        make_optimizer(config.optimizer, config.train.steps, model.roles),
        mask_rate=config.pretraining.mask_rate,
        ragged=dataset.spec.kind == "tokens",
        seed=config.seed,
        placement=place(devices),
    )


def pretrain(
    config: ConfigDict,
    dataset: Dataset,
    *,
    folder: Path,
    checkpoints: Path,
    stop: Stop,
    tell: Callable[[int, int, float, str], None],
    afresh: bool = False,
    devices: int = 1,
) -> Outcome:
    """Pretrains a model on the training inputs of a task and writes its weights with their record.

    Args:
        config: from `with_objective`, resolved by `open_data`.
        dataset: the data of the task; only the inputs of its training split are used.
        folder: the folder for weights and record, written when the pretraining is finished.
        checkpoints: the folder of all checkpoints, from which an interrupted pretraining resumes.
        stop: deadline and signals.
        tell: reports progress, as for `Trainer.fit`.
        afresh: whether to ignore earlier checkpoints.
        devices: number of devices that share every batch.

    Raises:
        UserError: an invalid setting, a folder that cannot be written, or another process trains this run.
        Stopped: a stop was requested before the model was built; nothing is written.
    """
    writable(folder, checkpoints)
    inputs = training_inputs(dataset)
    trainer = stop.attempt(partial(make_trainer, config, inputs, devices=devices, make=make_program))
    saved = checkpoint_folder(config, dataset, checkpoints / "pretraining")
    with reserved([saved]):
        manager = Checkpoints(saved)
        if afresh:
            manager.clear()
        outcome = trainer.fit(manager, stop, tell)
        if outcome.status == "ok":
            _, best = trainer.start(manager)
            pretrained.write(folder, config, dataset, outcome, best, held_out=len(inputs.splits["test"]))
    return outcome
