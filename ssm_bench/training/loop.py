"""The training loop: chunks of steps on the device, best-validation selection, one test score at the end."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssm_bench.errors import UserError
from ssm_bench.training import provenance
from ssm_bench.training.checkpoint import Checkpoints
from ssm_bench.training.outcome import Outcome
from ssm_bench.training.scoring import SCORING, Scorer, Traces, compiled
from ssm_bench.training.step import TrainState
from ssm_bench.training.stop import Stop, Stopped
from ssm_bench.training.tracking import Tracking

#: Seconds between checkpoints: a kill loses at most this time and one chunk.
CHECKPOINT_SECONDS = 60.0

Tell = Callable[[int, int, float, str], None]


def chunk_length(steps: int, evaluations: int, wanted: int) -> tuple[int, int]:
    """Splits a run into equal chunks: (steps between evaluations, steps in a chunk).

    The interval is a multiple of the chunk, and the chunk is at most `wanted`. Both depend only on the settings, so
    that a resumed run makes the same calls as an uninterrupted one.
    """
    interval = math.ceil(steps / max(1, min(evaluations, steps)))
    chunks = math.ceil(interval / max(1, wanted))
    chunk = math.ceil(interval / chunks)
    return chunk * chunks, chunk


class Trainer(Scorer):
    """One run of one model on one data set."""

    def fit(self, checkpoints: Checkpoints, stop: Stop, tell: Tell, tracking: Tracking | None = None) -> Outcome:
        """Trains from the newest checkpoint, or from the start, to the end, the deadline or a non-finite loss.

        Args:
            checkpoints: where to save and resume.
            stop: checked before every chunk of steps, and during compilation and the first chunk, whose durations are
                unknown in advance.
            tell: called with (step, steps, steps per second, a short text) after every chunk.
            tracking: receives the losses and scores of every chunk.
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
                # Without progress, the same command with the same time limit would end here again.
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
                    continue  # The time may be over.
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
            if stop.agreed(time.monotonic() - saved > CHECKPOINT_SECONDS or outcome.step == steps):
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
            UserError: the checkpoint cannot be read, or was trained on other data.
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

    def compile(self, stop: Stop) -> None:
        """Compiles the programs of a run without training.

        Raises:
            Stopped: a stop was requested before the end.
        """
        _, chunk = chunk_length(self.settings.steps, self.settings.evaluations, self.settings.chunk)
        self._compile(self.programs(self.program.initial_state(), chunk), stop)

    def _missing(self, state: TrainState, size: int = 0) -> Traces:
        """Those of `programs` that are not compiled yet."""
        return {key: trace for key, trace in self.programs(state, size).items() if key not in self._programs}

    def _compile(self, missing: Traces, stop: Stop) -> float:
        """Compiles programs; returns the seconds it took.

        Raises:
            Stopped: a stop was requested before the end; the message says so.
        """
        begun = time.monotonic()
        try:
            made = stop.attempt(partial(compiled, missing))
        except Stopped as stopped:
            seconds = time.monotonic() - begun
            raise Stopped(f"{stopped} while compiling, which was not finished after {seconds:.0f} s") from None
        finally:
            self.outcome.seconds["compile"] += time.monotonic() - begun
        self._programs |= made
        for (kind, _), program in made.items():
            if kind == "train" and (needed := provenance.needed_memory_bytes(program)):
                self.outcome.peak_memory = max(self.outcome.peak_memory or 0, needed)
        return time.monotonic() - begun

    def _train_chunk(self, state: TrainState, size: int) -> tuple[TrainState, np.ndarray, float]:
        """The state after `size` steps, their losses and accuracies (size, 2), and the seconds they took."""
        step, left = self.outcome.step, self.settings.steps - self.outcome.step - size
        examples, sizes = self.order.batches(step, size)
        following = self.order.batches(step + size, min(size, left))[0] if self.source.streams and left else None
        begun = time.monotonic()
        state, metrics = self._programs["train", size](state, *self.source.take(examples, following), sizes)
        metrics = np.asarray(metrics, np.float64)
        return state, metrics, max(time.monotonic() - begun, 1e-9)

    def _add(self, metrics: np.ndarray) -> str:
        """Counts the steps of a chunk; a message ends the run."""
        return self.outcome.add(metrics)

    def progress(self) -> dict[str, Any]:
        """The progress that a checkpoint stores in addition to arrays, as plain JSON."""
        return self.outcome.progress()

    def resume(self, progress: dict[str, Any]) -> None:
        """Restores the progress of a checkpoint."""
        self.outcome.resume(progress)

    def _validate(self, state: TrainState, best: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Adds a point to the curve, and keeps the parameters if the validation accuracy is the best so far."""
        stats = self.statistics(state)
        accuracy, loss = self.score(state.params, stats, "validation")
        train_loss = self.outcome.sums[0] / self.outcome.sums[2]
        if self.outcome.validated(accuracy, loss):
            # The next chunk reuses the memory of the state, so the best parameters are copied.
            best = jax.tree.map(jnp.copy, {"params": state.params, "stats": stats})
        return best, f"loss {train_loss:.3f}, validation {100 * accuracy:.2f} %"

    def _trained(self) -> str:
        """Checks the last parameters; a message ends the run."""
        return self.outcome.trained()

    def _test(self, best: dict[str, Any]) -> str:
        """Computes the final scores; a message ends the run."""
        return self.outcome.tested(*self.score(best["params"], best["stats"], "test"))

    def _partial(self, message: str) -> Outcome:
        """Ends a run that will be resumed later."""
        step, steps = self.outcome.step, self.settings.steps
        where = f"checkpoint at step {step} of {steps}" if step else f"none of {steps} steps done"
        return self._end("partial", f"{message}: {where}")

    def _end(self, status: str, message: str) -> Outcome:
        self.outcome.status, self.outcome.message = status, message
        return self.outcome
