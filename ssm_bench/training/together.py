"""Several seeds of one configuration in one program, for steps too short to keep a device busy.

Every array of the training state gets an axis of seeds in front. Each seed has its own parameters, order, dropout,
curve and result, as it would have alone; they share the data on the device, and start and stop together.
"""

import shutil
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ssm_bench.errors import UserError
from ssm_bench.training.batches import TrainingOrder
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.loop import Trainer
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.sources import DeviceData, Source
from ssm_bench.training.step import Program, TrainState


def stacked(trees: Sequence[Any]) -> Any:
    """One tree, with an axis of seeds in front of every array."""
    return jax.tree.map(lambda *arrays: jnp.stack(arrays), *trees)


def of_seed(tree: Any, seed: int) -> Any:
    """The tree of one seed, by its place."""
    return jax.tree.map(lambda array: array[seed], tree)


class SeedsProgram(Program):
    """The programs of several seeds as one: batches are (k, seeds, b), metrics (k, seeds, 2), scores (seeds, 3)."""

    def __init__(self, programs: Sequence[Program]):
        """Takes the programs of the seeds, which differ in nothing else."""
        first = programs[0]
        params, stats = (stacked([getattr(p.model, name) for p in programs]) for name in ("params", "stats"))
        model = first.model._replace(params=params, stats=stats)
        shared = {name: getattr(first, name) for name in ("ragged", "seed", "accumulate", "segment")}
        super().__init__(model, first.optimizer, **shared)
        self.seeds = jnp.array([p.seed for p in programs], jnp.int32)

    def initial_state(self) -> TrainState:
        """The states before the first step."""
        params, stats = jax.tree.map(jnp.copy, (self.model.params, self.model.stats))
        steps = jnp.zeros(len(self.seeds), jnp.int32)
        state = TrainState(params, stats, jax.vmap(self.optimizer.init)(params), steps)
        return jax.device_put(state, self.placement.whole)

    def gradients(self, data: DeviceData, length: int, state: TrainState, examples: jax.Array) -> tuple[Any, Any, Any]:
        """Those of every seed on its examples (seeds, b)."""
        one = lambda seed, state, examples: self.gradients_with(seed, data, length, state, examples)  # noqa: E731
        return jax.vmap(one)(self.seeds, state, examples)

    def updated(self, state: TrainState, gradients: Any, stats: Any) -> TrainState:
        """The states of all seeds after a step."""
        return jax.vmap(super().updated)(state, gradients, stats)

    def _statistics(
        self, params: Any, stats: Any, data: DeviceData, batches: jax.Array, sizes: jax.Array, padded: tuple[int, ...]
    ) -> Any:
        one = super()._statistics
        by_seed = lambda params, stats, batches: one(params, stats, data, batches, sizes, padded)  # noqa: E731
        return jax.vmap(by_seed, in_axes=(0, 0, 1))(params, stats, batches)

    def _evaluate(
        self, params: Any, stats: Any, data: DeviceData, batches: jax.Array, weights: jax.Array, length: int
    ) -> jax.Array:
        evaluate = super()._evaluate
        return jax.vmap(lambda params, stats: evaluate(params, stats, data, batches, weights, length))(params, stats)


class SeedsOrder:
    """The examples of every seed, of which the longest says how far all are padded."""

    def __init__(self, orders: Sequence[TrainingOrder]):
        """Takes the orders of the seeds."""
        self.orders = orders

    def batches(self, step: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples (count, seeds, batch), and which of the padded lengths each step takes, (count,)."""
        examples, sizes = zip(*(order.batches(step, count) for order in self.orders), strict=True)
        return np.stack(examples, 1), np.max(sizes, 0)


class Together(Trainer):
    """The runs of several seeds; `outcomes` are theirs, and `outcome` holds the clocks and the step of all."""

    def __init__(self, program: SeedsProgram, source: Source, splits: Any, config: ConfigDict, **rest: Any):
        """As a `Trainer`.

        Raises:
            UserError: dropout masks would be others than those of a run alone.
        """
        super().__init__(program, source, splits, config, **rest)
        model = config.model
        if len(self.padded) > 1 and (model.input_dropout or (model.dropout and not model.tie_dropout)):
            raise UserError(
                "--together pads batches further than a run alone, and a dropout mask with a number for each position "
                f"depends on that: add --config.train.lengths=1; got {config.train.lengths}"
            )
        seeds = [int(seed) for seed in program.seeds]
        orders = [
            TrainingOrder(splits["train"], self.lengths, batch=self.batch, seed=seed, padded=self.padded)
            for seed in seeds
        ]
        self.order = SeedsOrder(orders)
        self.outcomes = [Outcome(checksum=self.outcome.checksum) for _ in seeds]
        # The outcome of the seeds that cannot continue; they keep their place in the program.
        self.lost = [""] * len(seeds)

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps in addition to arrays, as plain JSON."""
        return super().progress() | {"seeds": [each.progress() for each in self.outcomes], "lost": self.lost}

    def resume(self, progress: dict[str, Any]) -> None:
        """Restores the progress of a checkpoint."""
        self.lost = list(progress.pop("lost"))
        for each, kept in zip(self.outcomes, progress.pop("seeds"), strict=True):
            each.resume(kept)
        super().resume(progress)

    def alive(self) -> list[int]:
        """The indices of the seeds that continue."""
        return [place for place, message in enumerate(self.lost) if not message]

    def _add(self, metrics: np.ndarray) -> str:
        for place in self.alive():
            self.lost[place] = self.outcomes[place].add(metrics[:, place])
        self.outcome.step += len(metrics)
        return self._all_lost()

    def _all_lost(self) -> str:
        return "" if self.alive() else "loss of every seed is not finite"

    def _validate(self, state: TrainState, best: dict[str, Any]) -> tuple[dict[str, Any], str]:
        self._share()
        stats = self.statistics(state)
        scores = self.score(state.params, stats, "validation")
        better = np.zeros(len(scores), bool)
        for place in self.alive():
            better[place] = self.outcomes[place].validated(*scores[place])
        now = {"params": state.params, "stats": stats}
        keep = lambda new, old: jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)  # noqa: E731
        best = jax.device_put(jax.tree.map(keep, now, best), self.program.placement.whole)
        return best, "validation " + ", ".join(f"{100 * scores[place, 0]:.2f} %" for place in self.alive())

    def _trained(self) -> str:
        for place in self.alive():
            self.lost[place] = self.outcomes[place].trained()
        return self._all_lost()

    def _test(self, best: dict[str, Any]) -> str:
        scores = self.score(best["params"], best["stats"], "test")
        for place in self.alive():
            self.lost[place] = self.outcomes[place].tested(*scores[place])
        return self._all_lost()

    def hand_over(self, checkpoints: Checkpoints, folders: Sequence[Path]) -> None:
        """Leaves each seed that came to its end the checkpoint that it would have alone, for `ssm-bench eval`."""
        model = self.program.model
        like = {"state": self.program.initial_state(), "best": {"params": model.params, "stats": model.stats}}
        restored = checkpoints.restore(like)
        for place, folder in enumerate(folders):
            if restored and self.outcomes[place].status == "ok":
                shutil.rmtree(folder, ignore_errors=True)
                tree, progress = of_seed(restored[0], place), self.outcomes[place].progress()
                Checkpoints(folder).save(self.outcome.step, tree, progress)

    def _share(self) -> None:
        """Gives each seed its share of the time, and what all have in common."""
        for each in self.outcomes:
            each.seconds = {name: value / len(self.outcomes) for name, value in self.outcome.seconds.items()}
            each.peak_memory = self.outcome.peak_memory
            each.origins, each.computed = deepcopy((self.outcome.origins, self.outcome.computed))

    def _end(self, status: str, message: str) -> Outcome:
        self._share()
        for each, lost in zip(self.outcomes, self.lost, strict=True):
            # Those that are lost wait for the others: all of them are one program, which continues as one.
            if lost and status != "partial":
                each.status, each.message = "diverged", f"{lost} of {self.settings.steps}"
            else:
                each.status, each.message = status, message
        return super()._end(status, message)
