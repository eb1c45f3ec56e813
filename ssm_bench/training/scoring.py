"""Scoring and compilation in a run: compiled programs, batch statistics and scores."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import zip_longest
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ssm_bench.training.batches import TrainingOrder, evaluation_batches, padded_lengths
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.sources import Source
from ssm_bench.training.step import Program, TrainState
from ssm_bench.training.stop import in_threads

#: Time to score an example, relative to the time to train on it. In records of runs on an H100, it is 0.35 (S5 on
#: Retrieval) and 0.39 (S4D on Image).
SCORING = 0.4

#: Batches in one call of the evaluation program.
EVALUATION_GROUP = 8

#: Programs by kind and size, as `Scorer.programs` names them, each with the function that traces it.
Traces = Mapping[tuple[str, int], Callable[[], jax.stages.Traced]]


def compiled(programs: Traces) -> dict[tuple[str, int], jax.stages.Compiled]:
    """Compiles programs in parallel, so that all of them take little longer than the largest."""
    # Traced in this thread, since tracing depends on contexts such as `use_backend` and runs Python only.
    lowered = {key: trace().lower() for key, trace in programs.items()}
    return dict(zip(lowered, in_threads(jax.stages.Lowered.compile, lowered.values()), strict=True))


class Scorer:
    """A model and a data set; `Trainer` adds the steps."""

    def __init__(
        self,
        program: Program,
        source: Source,
        splits: Mapping[str, np.ndarray],
        config: ConfigDict,
        *,
        lengths: np.ndarray,
        origin: dict[str, Any] | None = None,
        checksum: str = "",
    ):
        """Takes the programs, the source of batches, and example indices of train, validation, test.

        Args:
            program: the functions that are compiled.
            source: of the data of every call.
            splits: example indices of train, validation and test.
            config: the whole configuration.
            lengths: length of every example; with two documents, that of the longer one.
            origin: code, devices and libraries of this process, from `provenance.part`.
            checksum: checksum of the data; a checkpoint with another checksum is an error.
        """
        self.program = program
        self.source = source
        self.splits = splits
        self.settings = config.train
        self.batch = config.train.batch_size
        self.lengths = lengths
        self.padded = (source.length,)
        # If padding affects outputs, as in the authors' code, the padded length is part of the model.
        if program.ragged and config.train.lengths > 1 and config.protocol != "paper":
            self.padded = padded_lengths(lengths, config.train.lengths)
        self.order = TrainingOrder(splits["train"], lengths, batch=self.batch, seed=config.seed, padded=self.padded)
        longest, shares = max(len(examples) for examples in splits.values()), program.placement.shares
        wanted = config.train.eval_batch_size or self.batch // config.train.accumulate
        self.eval_batch = math.ceil(min(wanted, longest) / shares) * shares
        self.outcome = Outcome(checksum=checksum)
        self.outcomes = [self.outcome]
        self.origin = origin
        # Seconds to score one example; estimated from the training steps before the first scoring.
        self._example_seconds = 0.0
        # By the keys of `programs`.
        self._programs: dict[tuple[str, int], jax.stages.Compiled] = {}
        self._groups: dict[str, list[tuple[np.ndarray, np.ndarray, int]]] = {}

    def programs(self, state: TrainState, size: int = 0) -> Traces:
        """The programs that the rest of the run needs, each with the function that traces it.

        Args:
            state: the state before the next chunk.
            size: number of steps of the next chunk; 0: only the test split remains to be scored.

        Returns:
            By ("train", number of steps), ("statistics", number of batches) and ("score", length).
        """
        found: dict[tuple[str, int], Callable[[], jax.stages.Traced]] = {}
        if size:
            examples, sizes = self.order.batches(self.outcome.step, size)
            arguments = (state, *self.source.like(examples), sizes, self.padded)
            found["train", size] = partial(self.program.train.trace, *arguments)
        if size and (count := self._norm_batches(state)):
            examples, sizes = self.order.batches(self.outcome.step, count)
            arguments = (state.params, state.stats, *self.source.like(examples), sizes, self.padded)
            found["statistics", count] = partial(self.program.statistics.trace, *arguments)
        for split in ("validation", "test") if size else ("test",):
            for examples, weights, length in self._groups_of(split):
                like = jax.ShapeDtypeStruct(weights.shape, weights.dtype)
                arguments = (state.params, state.stats, *self.source.like(examples), like, length)
                found["score", length] = partial(self.program.evaluate.trace, *arguments)
        return found

    def statistics(self, state: TrainState) -> Any:
        """The batch statistics for evaluation: the running averages, or statistics of `train.norm_batches` batches.

        The batches are those that follow in the training order. Training itself never reads these statistics.
        """
        if not (count := self._norm_batches(state)):
            return state.stats
        begun = time.monotonic()
        examples, sizes = self.order.batches(self.outcome.step, count)
        arguments = (state.params, state.stats, *self.source.take(examples), sizes)
        stats = self._call(("statistics", count), self.program.statistics, *arguments, static=self.padded)
        stats = jax.block_until_ready(stats)
        self.outcome.seconds["evaluate"] += time.monotonic() - begun
        return stats

    def _norm_batches(self, state: TrainState) -> int:
        """Number of batches for the batch statistics of a validation; 0: running averages."""
        return self.settings.norm_batches if jax.tree.leaves(state.stats) else 0

    def score(self, params: Any, stats: Any, split: str) -> Any:
        """Accuracy in [0, 1] and mean loss over every example of a split: (2,)."""
        begun = time.monotonic()
        groups, sums = self._groups_of(split), []
        # All groups are dispatched before the first result is fetched.
        for (examples, weights, length), following in zip_longest(groups, groups[1:]):
            data, places = self.source.take(examples, following and following[0])
            arguments = (params, stats, data, places, self.program.placement.divided(weights))
            sums.append(self._call(("score", length), self.program.evaluate, *arguments, static=length))
            if self.source.streams:
                # No more than three groups are on the device: the previous one is done before another is loaded.
                jax.block_until_ready(sums[-2:-1])
        sums = np.sum(np.asarray(sums, np.float64), 0)
        seconds = time.monotonic() - begun
        self.outcome.seconds["evaluate"] += seconds
        self._example_seconds = seconds / len(self.splits[split])
        return sums[..., :2] / sums[..., 2:]

    def _call(self, key: tuple[str, int], function: Callable[..., Any], *arguments: Any, static: Any) -> Any:
        """Calls a compiled program, or its function if the program was not compiled, as in `ssm-bench eval`.

        Args:
            key: key of the program.
            function: the function of `Program`.
            arguments: arrays.
            static: the last argument of the function, which is part of the compiled program.
        """
        if program := self._programs.get(key):
            return program(*arguments)
        return function(*arguments, static)

    def _groups_of(self, split: str) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """Batches, weights and length of every call that scores a split."""
        if split not in self._groups:
            self._groups[split] = evaluation_batches(
                self.splits[split], self.lengths, self.eval_batch, self.padded, EVALUATION_GROUP
            )
        return self._groups[split]

    def _scoring_seconds(self, split: str) -> float:
        """Expected time to score a split, from the last scoring or else from the training steps; 0 before both."""
        return self._example_seconds * len(self.splits[split])
