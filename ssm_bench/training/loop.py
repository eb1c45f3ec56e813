"""The training loop: chunks of steps on the device, best-validation selection, one test score at the end."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ssm_bench.errors import UserError
from ssm_bench.training import provenance
from ssm_bench.training.batches import DeviceData, TrainingOrder, evaluation_batches, padded_lengths
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.step import Program, TrainState
from ssm_bench.training.stop import Stop, Stopped, in_threads
from ssm_bench.training.tracking import Tracking

#: Seconds between checkpoints: what a kill can cost at most, in addition to one chunk.
CHECKPOINT_SECONDS = 60.0

#: Time to score an example, relative to the time to train on it. Records of runs on an H100 say 0.35 (S5 on Retrieval)
#: and 0.39 (S4D on Image).
SCORING = 0.4

#: Batches in one call of the evaluation program.
EVALUATION_GROUP = 8

Tell = Callable[[int, int, float, str], None]


def chunk_length(steps: int, evaluations: int, wanted: int) -> tuple[int, int]:
    """Splits a run into equal chunks: (steps between evaluations, steps in a chunk).

    The interval is a multiple of the chunk, the chunk at most `wanted`; both depend on the settings alone,
    so that a resumed run makes the same calls as an uninterrupted one.
    """
    interval = math.ceil(steps / max(1, min(evaluations, steps)))
    chunks = math.ceil(interval / max(1, wanted))
    chunk = math.ceil(interval / chunks)
    return chunk * chunks, chunk


def _compiled(programs: Mapping[tuple[str, int], Callable[[], jax.stages.Traced]]) -> dict[Any, jax.stages.Compiled]:
    """Programs compiled side by side, so that all of them take little longer than the largest."""
    # Traced in this thread, since tracing depends on contexts such as `use_backend` and runs Python only.
    lowered = {key: trace().lower() for key, trace in programs.items()}
    return dict(zip(lowered, in_threads(jax.stages.Lowered.compile, lowered.values()), strict=True))


class Trainer:
    """One run of one model on one data set."""

    def __init__(
        self,
        program: Program,
        data: DeviceData,
        splits: Mapping[str, np.ndarray],
        config: ConfigDict,
        *,
        lengths: np.ndarray,
        origin: dict[str, Any] | None = None,
        checksum: str = "",
    ):
        """Takes the compiled programs, the data on the device, and example indices of train, validation, test.

        Args:
            program: the compiled programs.
            data: the data on the device.
            splits: example indices of train, validation and test.
            config: the whole configuration.
            lengths: of every example, its longer document's if it has two.
            origin: what trains, as `provenance.part` describes it.
            checksum: of the data; a checkpoint of other data is refused.
        """
        self.program = program
        self.data = data
        self.splits = splits
        self.settings = config.train
        self.batch = config.train.batch_size
        self.lengths = lengths
        self.padded = (data["tokens"].shape[1],)
        # Where padding reaches an output, as in the authors' code, its length is part of the model.
        if program.ragged and config.train.lengths > 1 and config.protocol != "paper":
            self.padded = padded_lengths(lengths, config.train.lengths)
        self.order = TrainingOrder(splits["train"], lengths, batch=self.batch, seed=config.seed, padded=self.padded)
        longest, devices = max(len(examples) for examples in splits.values()), program.placement.devices
        self.eval_batch = math.ceil(min(config.train.eval_batch_size or self.batch, longest) / devices) * devices
        self.outcome = Outcome(checksum=checksum)
        self.outcomes = [self.outcome]
        self.origin = origin
        # Seconds to score one example; estimated from the training steps before the first scoring.
        self._example_seconds = 0.0
        # By the keys of `programs`.
        self._programs: dict[tuple[str, int], jax.stages.Compiled] = {}
        self._groups: dict[str, list[tuple[np.ndarray, np.ndarray, int]]] = {}

    def fit(self, checkpoints: Checkpoints, stop: Stop, tell: Tell, tracking: Tracking | None = None) -> Outcome:
        """Trains from the newest checkpoint, or from the start, to the end, the deadline or a non-finite loss.

        Args:
            checkpoints: where to save and resume.
            stop: asked before every chunk of steps, and during compilation and the first chunk, whose durations are
                unknown in advance.
            tell: called with (step, steps, steps per second, a few words) after every chunk.
            tracking: gets the losses and scores of every chunk.
        """
        outcome, steps = self.outcome, self.settings.steps
        interval, chunk = chunk_length(steps, self.settings.evaluations, self.settings.chunk)
        state, best = self.start(checkpoints)
        saved, chunk_seconds, compile_seconds, begun = time.monotonic(), 0.0, 0.0, outcome.step
        if self.origin and self.origin not in outcome.origins[-1:]:
            outcome.origins.append(self.origin)
        elif begun:
            # The earlier part ran the same code on the same kind of device.
            chunk_seconds = chunk * outcome.seconds["train"] / begun
        while outcome.step < steps:
            size = min(chunk, steps - outcome.step)
            evaluates = (outcome.step + size) % interval == 0 or outcome.step + size == steps
            ahead = 1.5 * chunk_seconds + (self._scoring_seconds("validation") if evaluates else 0.0)
            if message := stop.reason(ahead):
                # Without a step the same command would end here again, if it were given no more time.
                if compile_seconds and outcome.step == begun:
                    message += f" after {compile_seconds:.0f} s of compiling"
                elif outcome.step == begun and not stop.reason():
                    message += f" before the next {size} steps, which take about {chunk_seconds:.0f} s"
            elif missing := self._missing(state, size):
                try:
                    compile_seconds += self._compile(missing, stop)
                except Stopped as stopped:
                    message = str(stopped)
                else:
                    continue  # There may be no time left.
            if message:
                if outcome.step:
                    checkpoints.save(outcome.step, {"state": state, "best": best}, self.progress())
                return self._partial(message)
            work = partial(self._train_chunk, state, size)
            try:
                state, metrics, chunk_seconds = stop.attempt(work) if outcome.step == begun else work()
            except Stopped as stopped:
                # The abandoned chunk owns the state, but nothing was done since the checkpoint.
                return self._partial(f"{stopped} during the first {size} steps")
            outcome.seconds["train"] += chunk_seconds
            self._example_seconds = self._example_seconds or SCORING * chunk_seconds / (size * self.batch)
            if message := self._add(metrics):
                return self._end("diverged", f"{message} of {steps}")
            words = f"loss {np.nanmean(metrics[-1, ..., 0]):.3f}"
            if evaluates:
                best, words = self._validate(state, best)
            if time.monotonic() - saved > CHECKPOINT_SECONDS or outcome.step == steps:
                checkpoints.save(outcome.step, {"state": state, "best": best}, self.progress())
                saved = time.monotonic()
            if tracking:
                tracking.chunk(self.outcomes, metrics, size / chunk_seconds)
            tell(outcome.step, steps, size / chunk_seconds, words)
        if message := self._trained():
            return self._end("diverged", f"{message} of {steps}")
        try:
            self._compile(self._missing(state), stop)
            message = stop.reason(ahead=self._scoring_seconds("test"))
        except Stopped as stopped:
            message = str(stopped)
        if message:
            return self._end("partial", f"{message}: trained to step {steps}, test not scored yet")
        if message := self._test(best):
            return self._end("diverged", f"{message} of {steps}")
        return self._end("ok", "")

    def start(self, checkpoints: Checkpoints) -> tuple[TrainState, dict[str, Any]]:
        """The newest checkpoint's training state and best parameters, or the initial ones.

        Raises:
            UserError: the checkpoint can not be read, or was trained on other data.
        """
        state = self.program.initial_state()
        best = {"params": self.program.model.params, "stats": self.program.model.stats}
        restored = checkpoints.restore({"state": state, "best": best})
        if restored is None:
            return state, best
        tree, progress = restored
        if progress["checksum"] != self.outcome.checksum:
            raise UserError(
                f"the checkpoint in {checkpoints.folder} was trained on other data (checksum "
                f"{progress['checksum'][:12]}, now {self.outcome.checksum[:12]}): delete that folder to start again"
            )
        self.resume(progress)
        return TrainState(*tree["state"]), tree["best"]

    def programs(self, state: TrainState, size: int = 0) -> dict[tuple[str, int], Callable[[], jax.stages.Traced]]:
        """The programs that the rest of the run needs, each with the function that traces it.

        Args:
            state: before the next chunk.
            size: steps of the next chunk; 0: only the test split is left to score.

        Returns:
            By ("train", number of steps), ("statistics", number of batches) and ("score", length).
        """
        found: dict[tuple[str, int], Callable[[], jax.stages.Traced]] = {}
        if size:
            batches = self.order.batches(self.outcome.step, size)
            found["train", size] = partial(self.program.train.trace, state, self.data, *batches, self.padded)
        if size and (count := self._norm_batches(state)):
            fixed = (state.params, state.stats, self.data, *self.order.batches(self.outcome.step, count), self.padded)
            found["statistics", count] = partial(self.program.statistics.trace, *fixed)
        for split in ("validation", "test") if size else ("test",):
            for group in self._groups_of(split):
                scores = partial(self.program.evaluate.trace, state.params, state.stats, self.data, *group)
                found["score", group[2]] = scores
        return found

    def compile(self, stop: Stop) -> None:
        """Compiles the programs of a run from its first step on, and trains nothing.

        Raises:
            Stopped: a stop was requested before the end.
        """
        _, chunk = chunk_length(self.settings.steps, self.settings.evaluations, self.settings.chunk)
        self._compile(self.programs(self.program.initial_state(), chunk), stop)

    def _missing(self, state: TrainState, size: int = 0) -> dict[tuple[str, int], Callable[[], jax.stages.Traced]]:
        """Those of `programs` that are not compiled yet."""
        return {key: trace for key, trace in self.programs(state, size).items() if key not in self._programs}

    def _compile(self, missing: Mapping[tuple[str, int], Callable[[], jax.stages.Traced]], stop: Stop) -> float:
        """Compiles programs; returns the seconds it took.

        Raises:
            Stopped: a stop was requested before the end; the message says so.
        """
        begun = time.monotonic()
        try:
            compiled = stop.attempt(partial(_compiled, missing))
        except Stopped as stopped:
            seconds = time.monotonic() - begun
            raise Stopped(f"{stopped} while compiling, which was not finished after {seconds:.0f} s") from None
        finally:
            self.outcome.seconds["compile"] += time.monotonic() - begun
        self._programs |= compiled
        for (kind, _), program in compiled.items():
            if kind == "train" and (needed := provenance.needed_memory_bytes(program)):
                self.outcome.peak_memory = max(self.outcome.peak_memory or 0, needed)
        return time.monotonic() - begun

    def _train_chunk(self, state: TrainState, size: int) -> tuple[TrainState, np.ndarray, float]:
        """The state after `size` steps, their losses and accuracies (size, 2), and the seconds they took."""
        batches, sizes = self.order.batches(self.outcome.step, size)
        begun = time.monotonic()
        state, metrics = self._programs["train", size](state, self.data, batches, sizes)
        metrics = np.asarray(metrics, np.float64)
        return state, metrics, max(time.monotonic() - begun, 1e-9)

    def _add(self, metrics: np.ndarray) -> str:
        """Counts the steps of a chunk; a message ends the run."""
        return self.outcome.add(metrics)

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps in addition to arrays, as plain JSON."""
        return self.outcome.progress()

    def resume(self, progress: dict[str, Any]) -> None:
        """Restores the progress of a checkpoint."""
        self.outcome.resume(progress)

    def statistics(self, state: TrainState) -> Any:
        """The batch statistics to evaluate with: the running ones, or those of `train.norm_batches` batches.

        The batches are those that follow in the training order. Training itself never reads these statistics.
        """
        if not (count := self._norm_batches(state)):
            return state.stats
        begun = time.monotonic()
        batches, sizes = self.order.batches(self.outcome.step, count)
        arguments = (state.params, state.stats, self.data, batches, sizes)
        stats = self._call(("statistics", count), self.program.statistics, *arguments, static=self.padded)
        stats = jax.block_until_ready(stats)
        self.outcome.seconds["evaluate"] += time.monotonic() - begun
        return stats

    def _norm_batches(self, state: TrainState) -> int:
        """Number of batches for the batch statistics of a validation; 0: the running ones."""
        return self.settings.norm_batches if jax.tree.leaves(state.stats) else 0

    def _validate(self, state: TrainState, best: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Adds a point to the curve, and keeps the parameters where validation is the best so far."""
        stats = self.statistics(state)
        accuracy, loss = self.score(state.params, stats, "validation")
        train_loss = self.outcome.sums[0] / self.outcome.sums[2]
        if self.outcome.validated(accuracy, loss):
            # The next chunk takes over the state's memory, so the best needs its own.
            best = jax.tree.map(jnp.copy, {"params": state.params, "stats": stats})
        return best, f"loss {train_loss:.3f}, validation {100 * accuracy:.2f} %"

    def _trained(self) -> str:
        """Looks at the last parameters; a message ends the run."""
        return self.outcome.trained()

    def _test(self, best: dict[str, Any]) -> str:
        """Takes the final scores; a message ends the run."""
        return self.outcome.tested(*self.score(best["params"], best["stats"], "test"))

    def score(self, params: Any, stats: Any, split: str) -> Any:
        """Accuracy in [0, 1] and mean loss over every example of a split: (2,)."""
        begun = time.monotonic()
        # All groups are dispatched before the first result is fetched.
        sums = [
            self._call(("score", length), self.program.evaluate, params, stats, self.data, *group, static=length)
            for *group, length in self._groups_of(split)
        ]
        sums = np.sum(np.asarray(sums, np.float64), 0)
        seconds = time.monotonic() - begun
        self.outcome.seconds["evaluate"] += seconds
        self._example_seconds = seconds / len(self.splits[split])
        return sums[..., :2] / sums[..., 2:]

    def _call(self, key: tuple[str, int], function: Callable[..., Any], *arguments: Any, static: Any) -> Any:
        """The result of a compiled program, or of its function where `fit` has not compiled it, as in `ssm-bench eval`.

        Args:
            key: of the program.
            function: from `Program`.
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
        """How long scoring a split should take, by the last scoring or else by the training steps; 0 before both."""
        return self._example_seconds * len(self.splits[split])

    def _partial(self, message: str) -> Outcome:
        """Ends a run that continues later."""
        step, steps = self.outcome.step, self.settings.steps
        where = f"checkpoint at step {step} of {steps}" if step else f"none of {steps} steps done"
        return self._end("partial", f"{message}: {where}")

    def _end(self, status: str, message: str) -> Outcome:
        self.outcome.status, self.outcome.message = status, message
        return self.outcome
