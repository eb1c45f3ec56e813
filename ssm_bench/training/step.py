"""The training and evaluation programs: pure functions of pytrees, many steps in one call of the device."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ssm_bench.network.build import Split
from ssm_bench.network.layers import BatchNorm
from ssm_bench.ops.sharding import divided
from ssm_bench.training import segments
from ssm_bench.training.devices import Placement, place, put
from ssm_bench.training.sources import DeviceData


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
    """A model and an optimizer as compiled functions of plain pytrees."""

    def __init__(
        self,
        model: Split,
        optimizer: optax.GradientTransformation,
        *,
        ragged: bool,
        seed: int,
        accumulate: int = 1,
        segment: int = 0,
        placement: Placement | None = None,
    ):
        """Takes what every call shares.

        Args:
            model: from `ssm_bench.network.build.split`.
            optimizer: an optax transformation.
            ragged: whether documents differ in length, so that the model needs to know the lengths.
            seed: of dropout.
            accumulate: microbatches of a batch, whose gradients are averaged.
            segment: positions between which gradients of states are cut; 0: they are not.
            placement: on which devices; None: on one.
        """
        self.placement = placement or place()
        _, whole, batches = self.placement
        self.model = model._replace(**put({"params": model.params, "stats": model.stats}, whole))
        self.optimizer = optimizer
        self.ragged = ragged
        self.seed = seed
        self.accumulate = accumulate
        self.segment = segment
        # Where arguments and results stand is all that is said: the compiler divides the work, and adds up what
        # concerns the whole batch, gradients and batch statistics.
        self.train = jax.jit(
            self._train,
            donate_argnums=0,
            static_argnames="padded",
            in_shardings=(whole, whole, batches, whole),
            out_shardings=whole,
        )
        self.statistics = jax.jit(
            self._statistics,
            static_argnames="padded",
            in_shardings=(whole, whole, whole, batches, whole),
            out_shardings=whole,
        )
        self.evaluate = jax.jit(
            self._evaluate,
            static_argnames="length",
            in_shardings=(whole, whole, whole, batches, batches),
            out_shardings=whole,
        )

    def initial_state(self) -> TrainState:
        """The state before the first step; it owns its arrays, since training donates them."""
        params = jax.tree.map(jnp.copy, self.model.params)
        stats = jax.tree.map(jnp.copy, self.model.stats)
        state = TrainState(params, stats, self.optimizer.init(params), jnp.zeros((), jnp.int32))
        return put(state, self.placement.whole)

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
        """Logits (b, c) of examples (b,), their documents cut to `length`, and the batch statistics after the call.

        The statistics are running averages, or, without `running`, those of this batch alone.
        """
        documents = data["documents"][examples]
        inputs, lengths = data["tokens"][documents][..., :length], data["lengths"][documents] if self.ragged else None
        if self.segment:
            graph, segment = self.model.graph, self.segment
            return segments.logits(graph, params, stats, inputs, lengths, segment=segment, key=key), stats
        model = self.merged(params, stats, running=running)
        logits = model(inputs, lengths, train=train, key=key)
        return logits, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    def merged(self, params: Any, stats: Any, *, running: bool = True) -> Any:
        """The model with these arrays; without `running`, batch norm replaces its statistics by those of a batch."""
        model = nnx.merge(self.model.graph, params, stats)
        if not running:
            for _, module in nnx.iter_modules(model):
                if isinstance(module, BatchNorm):
                    module.decay = 0.0
        return model

    def gradients(self, data: DeviceData, length: int, state: TrainState, examples: jax.Array) -> tuple[Any, Any, Any]:
        """What a step on examples (b,) needs, their documents cut to `length`.

        Returns:
            Gradients, the batch statistics after the step, and its mean loss and accuracy (2,).
        """
        return self.gradients_with(self.seed, data, length, state, examples)

    def gradients_with(
        self, seed: int | jax.Array, data: DeviceData, length: int, state: TrainState, examples: jax.Array
    ) -> tuple[Any, Any, Any]:
        """`gradients` with a seed of dropout."""
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        if self.accumulate == 1:
            return self._gradients_at_once(key, data, length, state, examples)

        def add(sums: Any, microbatch: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            number, part = microbatch
            gradients, _, metrics = self._gradients_at_once(jax.random.fold_in(key, number), data, length, state, part)
            return jax.tree.map(jnp.add, sums, gradients), metrics

        # Every n-th example, so that each device divides its own part of the batch.
        parts = examples.reshape(-1, self.accumulate).T
        zeros = jax.tree.map(jnp.zeros_like, state.params)
        sums, metrics = jax.lax.scan(add, zeros, (jnp.arange(self.accumulate), parts))
        # Without batch norm, which `resolve` refuses, a step leaves the batch statistics as they are.
        return jax.tree.map(lambda total: total / self.accumulate, sums), state.stats, metrics.mean(0)

    def _gradients_at_once(
        self, key: jax.Array, data: DeviceData, length: int, state: TrainState, examples: jax.Array
    ) -> tuple[Any, Any, Any]:
        """`gradients` in one pass, with a key of dropout."""
        labels = data["labels"][examples]

        def loss_of(params):
            logits, stats = self.logits(params, state.stats, data, examples, length, train=True, key=key)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, (stats, (logits.argmax(-1) == labels).mean())

        (loss, (stats, accuracy)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        return gradients, stats, jnp.stack([loss, accuracy])

    def updated(self, state: TrainState, gradients: Any, stats: Any) -> TrainState:
        """The state after a step with these gradients and batch statistics."""
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        return TrainState(optax.apply_updates(state.params, updates), stats, opt_state, state.step + 1)

    def _train(
        self, state: TrainState, data: DeviceData, batches: jax.Array, sizes: jax.Array, padded: tuple[int, ...]
    ) -> tuple[TrainState, jax.Array]:
        """Steps on batches (k, b) of lengths padded[size], in one scan: the state, losses and accuracies (k, 2)."""
        branches = [partial(self.gradients, data, length) for length in padded]

        def step(state, batch):
            examples, size = batch
            # The optimizer is the same for all lengths, so one copy of it is compiled.
            gradients, stats, metrics = jax.lax.switch(size, branches, state, examples)
            return self.updated(state, gradients, stats), metrics

        with divided(self.placement.mesh):
            return jax.lax.scan(step, state, (batches, sizes))

    def _statistics(
        self,
        params: Any,
        stats: Any,
        data: DeviceData,
        batches: jax.Array,
        sizes: jax.Array,
        padded: tuple[int, ...],
    ) -> Any:
        """Batch statistics of fixed parameters: the mean over batches (k, b) of lengths padded[size], no dropout."""

        def seen(length, examples):
            return self.logits(params, stats, data, examples, length, train=True, running=False)[1]

        branches = [partial(seen, length) for length in padded]

        def add(sums, batch):
            examples, size = batch
            return jax.tree.map(jnp.add, sums, jax.lax.switch(size, branches, examples)), None

        with divided(self.placement.mesh):
            sums, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, stats), (batches, sizes))
        return jax.tree.map(lambda total: total / len(batches), sums)

    def _evaluate(
        self, params: Any, stats: Any, data: DeviceData, batches: jax.Array, weights: jax.Array, length: int
    ) -> jax.Array:
        """Weighted sums over batches (k, b) of that length: correct answers, losses, weights, as (3,) float32."""

        def one(sums, batch):
            examples, weight = batch
            labels = data["labels"][examples]
            logits, _ = self.logits(params, stats, data, examples, length, train=False)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            # Logits that are not numbers would be those of the first class.
            correct = ((logits.argmax(-1) == labels) & jnp.isfinite(losses)).astype(jnp.float32)
            return sums + jnp.stack([(correct * weight).sum(), (losses * weight).sum(), weight.sum()]), None

        with divided(self.placement.mesh):
            return jax.lax.scan(one, jnp.zeros(3), (batches, weights))[0]


def count_parameters(params: Any) -> int:
    """Number of real trainable values."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
