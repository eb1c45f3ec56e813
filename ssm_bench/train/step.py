"""The training and evaluation programs: pure functions of pytrees, many steps in one call of the device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ssm_bench.network.build import Split
from ssm_bench.train.batches import DeviceData


class TrainState(NamedTuple):
    """Everything that training changes.

    Attributes:
        params: pure tree of parameters.
        stats: pure tree of batch statistics.
        opt_state: the optimiser's state.
        step: number of updates done, int32.
    """

    params: Any
    stats: Any
    opt_state: Any
    step: jax.Array


class Program:
    """A model and an optimiser as compiled functions of plain pytrees."""

    def __init__(self, model: Split, optimizer: optax.GradientTransformation, *, ragged: bool, seed: int):
        """Takes what every call shares.

        Args:
            model: from `ssm_bench.network.build.split`.
            optimizer: an optax transformation.
            ragged: whether documents differ in length, so that the model needs to know the lengths.
            seed: of dropout.
        """
        self.model = model
        self.optimizer = optimizer
        self.ragged = ragged
        self.seed = seed
        self.train = jax.jit(self._train, donate_argnums=0)
        self.evaluate = jax.jit(self._evaluate)

    def initial_state(self) -> TrainState:
        """The state before the first step; it owns its arrays, since training donates them."""
        params = jax.tree.map(jnp.copy, self.model.params)
        stats = jax.tree.map(jnp.copy, self.model.stats)
        return TrainState(params, stats, self.optimizer.init(params), jnp.zeros((), jnp.int32))

    def logits(self, params: Any, stats: Any, data: DeviceData, examples: jax.Array, *, train: bool, key=None):
        """Logits (b, c) of examples (b,), and the batch statistics after the call."""
        model = nnx.merge(self.model.graph, params, stats)
        documents = data["documents"][examples]
        lengths = data["lengths"][documents] if self.ragged else None
        logits = model(data["tokens"][documents], lengths, train=train, key=key)
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    def update(self, state: TrainState, data: DeviceData, examples: jax.Array) -> tuple[TrainState, jax.Array]:
        """One training step on examples (b,): the next state, and the mean loss and accuracy (2,)."""
        labels = data["labels"][examples]
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)

        def loss_of(params):
            logits, stats = self.logits(params, state.stats, data, examples, train=True, key=key)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, (stats, (logits.argmax(-1) == labels).mean())

        (loss, (stats, accuracy)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, stats, opt_state, state.step + 1), jnp.stack([loss, accuracy])

    def _train(self, state: TrainState, data: DeviceData, batches: jax.Array) -> tuple[TrainState, jax.Array]:
        """Steps on batches (k, b) in one scan: the state after them, and losses and accuracies (k, 2)."""
        return jax.lax.scan(lambda s, examples: self.update(s, data, examples), state, batches)

    def _evaluate(self, params: Any, stats: Any, data: DeviceData, batches: jax.Array, weights: jax.Array) -> jax.Array:
        """Weighted sums over batches (k, b): correct answers, losses, weights, as (3,) float32."""

        def one(sums, batch):
            examples, weight = batch
            labels = data["labels"][examples]
            logits, _ = self.logits(params, stats, data, examples, train=False)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            correct = (logits.argmax(-1) == labels).astype(jnp.float32)
            return sums + jnp.stack([(correct * weight).sum(), (losses * weight).sum(), weight.sum()]), None

        return jax.lax.scan(one, jnp.zeros(3), (batches, weights))[0]


def count_parameters(params: Any) -> int:
    """Number of real trainable values."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
