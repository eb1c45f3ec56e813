"""What lindermanlab/S5 and minimal-LRU share, whose training loops are the same but for a few arguments."""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import flax.serialization
import jax
import numpy as np
from feed import Batch
from peer_training import Schedule
from timing import Cell

from ssm_bench.training import provenance


class Tensor(np.ndarray):
    """An array with the one method of PyTorch's tensors that the authors' `prep_batch` calls."""

    def numpy(self) -> np.ndarray:
        """The array itself."""
        return self.view(np.ndarray)


class JaxTrainee:
    """Calls the authors' `train_epoch` for a few steps at a time, and their `eval_step`.

    Args:
        helpers: their module `train_helpers`.
        network: their model, a partial that lacks `training`.
        state: their training state.
        key: of dropout.
        norm: what their functions take as `batchnorm` or `norm`.
        options: what their `lr_params` hold between the number of steps and the least rate.
        lr_min: the least rate.
    """

    def __init__(
        self,
        helpers: ModuleType,
        network: Any,
        state: Any,
        key: jax.Array,
        cell: Cell,
        schedule: Schedule,
        *,
        norm: Any,
        options: tuple,
        lr_min: float,
    ):
        self.helpers, self.network, self.norm = helpers, network, norm
        self.state, self.key = jax.device_put((state, key), jax.devices()[0])
        self.options, self.lr_min, self.schedule = options, lr_min, schedule
        self.length, self.width = cell.length, max(1, cell.vocabulary)
        self.lr, self.ssm_lr = float(cell.config.optimizer.lr), float(cell.config.optimizer.ssm_lr)
        config = cell.config
        self.recipe: dict[str, Any] = {
            "batch_size": cell.batch,
            "n_layers": cell.layers,
            "d_model": config.model.d_model,
            "p_dropout": config.model.dropout,
            "prenorm": config.model.prenorm,
            "lr": self.lr,
            "ssm_lr": self.ssm_lr,
            "lr_min": lr_min,
            "weight_decay": config.optimizer.weight_decay,
            "warmup_steps": schedule.warmup,
            "in_dim": self.width,
            "seq_len": self.length,
            **config.mixer.to_dict(),
        }
        self.notes: list[str] = []

    def train(self, batches: Iterable[Batch], first: int) -> float:
        """See `peer_training.Trainee`; the steps lie on one side of the end of the warm-up."""
        if first < self.schedule.warmup:
            decay, end = self.helpers.linear_warmup, self.schedule.warmup
        else:
            decay, end = self.helpers.cosine_annealing, self.schedule.steps - self.schedule.warmup
        self.state, loss, _ = self.helpers.train_epoch(
            self.state,
            jax.random.fold_in(self.key, first),
            self.network,
            _tensors(batches),
            self.length,
            self.width,
            self.norm,
            (decay, self.ssm_lr, self.lr, first, end, *self.options, self.lr_min),
        )
        return float(loss)

    def evaluate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """See `peer_training.Trainee`."""
        network, count, sums = self.network(training=False), 0, []
        for batch in _tensors(batches):
            inputs, labels, extra = self.helpers.prep_batch(batch, self.length, self.width)
            losses, hits, _ = self.helpers.eval_step(inputs, labels, extra, self.state, network, self.norm)
            # Each is a number for each example, or their mean.
            sums.append((len(labels) * losses.mean(), len(labels) * hits.mean()))
            count += len(labels)
        loss, accuracy = np.asarray(jax.device_get(sums), np.float64).sum(0) / count
        return float(loss), float(accuracy)

    def dump(self) -> bytes:
        """See `peer_training.Trainee`."""
        return flax.serialization.to_bytes(jax.device_get(self.state))

    def restore(self, state: bytes) -> None:
        """See `peer_training.Trainee`."""
        self.state = jax.device_put(flax.serialization.from_bytes(self.state, state), jax.devices()[0])

    def peak_bytes(self) -> int | None:
        """See `peer_training.Trainee`."""
        return provenance.peak_memory_bytes()


def _tensors(batches: Iterable[Batch]) -> Iterator[tuple]:
    """Batches in the form in which the authors' data loaders deliver them."""
    for batch in batches:
        inputs, labels = batch.inputs.view(Tensor), batch.labels.view(Tensor)
        if batch.lengths is None:
            yield inputs, labels
        else:
            yield inputs, labels, {"lengths": batch.lengths.view(Tensor)}
