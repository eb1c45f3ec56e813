"""Sends the progress of runs to TensorBoard, Weights & Biases or Trackio, when `--track` asks for it.

A tracker only shows data that the record also contains. If it fails, the run continues without it.
"""

import importlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ml_collections import ConfigDict

from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.training.outcome import Outcome

logger = logging.getLogger(__name__)

#: Trackers, and the package that each of them needs.
PACKAGES = {"tensorboard": "tensorboardX", "trackio": "trackio", "wandb": "wandb"}

#: The project of all runs, unless WANDB_PROJECT or TRACKIO_PROJECT names another one.
PROJECT = "ssm-bench"


class Tracker(Protocol):
    """One run in a tracker."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a point to each of the named curves."""
        ...

    def finish(self) -> None:
        """Writes remaining data; nothing is logged afterwards."""
        ...


class TensorBoard:
    """Event files in a folder, which `tensorboard --logdir` shows."""

    def __init__(self, folder: Path, config: ConfigDict, step: int):
        """Continues the curves in the folder after `step`; later points, from abandoned steps, are hidden."""
        writer = importlib.import_module("tensorboardX").SummaryWriter
        self._writer = writer(str(folder), purge_step=step + 1)
        self._writer.add_text("configuration", f"```\n{config}\n```")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self) -> None:
        """See `Tracker`."""
        self._writer.close()


class Service:
    """A run of Weights & Biases or of Trackio, whose functions have the same names."""

    def __init__(self, kind: str, name: str, config: ConfigDict, step: int):
        """Starts a run, or continues the one with this name if `step` is not 0."""
        options: dict[str, Any] = {"resume": "allow" if step else "never"}
        if kind == "wandb":
            # Without "allow", a run with this identity would be replaced. Several runs may be open, one per seed.
            options = {"id": name, "resume": "allow" if step else None, "reinit": "create_new"}
        project = os.environ.get(f"{kind.upper()}_PROJECT") or PROJECT
        module = importlib.import_module(PACKAGES[kind])
        self._run = module.init(project=project, name=name, config=config.to_dict(), **options)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(metrics), step=step)

    def finish(self) -> None:
        """See `Tracker`."""
        self._run.finish()


def check(track: str) -> None:
    """Checks that a tracker exists and is installed; "" stands for no tracker.

    Raises:
        ArgumentError: the tracker is unknown or not installed.
    """
    if track and track not in PACKAGES:
        raise unknown_choice("track", track, PACKAGES)
    # `find_spec` also finds a folder of this name that is not a package, such as the one that wandb creates.
    if track and ((found := find_spec(PACKAGES[track])) is None or found.origin is None):
        package = PACKAGES[track]
        raise ArgumentError("track", f"{track} needs the package {package}: run `pip install {package}`")


class Tracking:
    """The trackers of one run, or of several seeds in one program.

    A tracker starts with its first point. After an error, a warning is printed and the tracker gets no more points.
    """

    def __init__(self, track: str, configs: Sequence[ConfigDict], names: Sequence[str], results: Path):
        """Does not start the tracker yet.

        Args:
            track: a key of `PACKAGES`, or "" for none.
            configs: the configuration of each seed.
            names: the name of each seed's record.
            results: the folder of records; TensorBoard's files go to the folder `tensorboard` next to it.
        """
        self.track = track
        self._runs = [
            (config, (config.preset, config.task.name, config.model.name, name))
            for config, name in zip(configs, names, strict=True)
        ]
        self._folder = results.absolute().parent / "tensorboard"
        self._trackers: dict[int, Tracker | None] = {}

    def chunk(self, outcomes: Sequence[Outcome], metrics: np.ndarray, rate: float) -> None:
        """Logs the means over some steps, and the validation scores if these steps end with a validation.

        Args:
            outcomes: the outcome of each seed.
            metrics: loss and accuracy of every step, (k, 2) or (k, seeds, 2).
            rate: steps per second.
        """
        if not self.track:
            return
        means = metrics.reshape(len(metrics), len(outcomes), 2).mean(0)
        for place, (outcome, (loss, accuracy)) in enumerate(zip(outcomes, means, strict=True)):
            if not np.isfinite(loss):
                continue  # This seed has diverged.
            point = {"train/loss": float(loss), "train/accuracy": float(accuracy), "train/steps_per_second": rate}
            if outcome.curve and outcome.curve[-1]["step"] == outcome.step:
                last = outcome.curve[-1]
                point |= {f"validation/{name}": last[f"validation_{name}"] for name in ("loss", "accuracy")}
            self._log(place, outcome.step, point, before=outcome.step - len(metrics))

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Logs the test scores of finished runs, and closes all trackers."""
        if not self.track:
            return
        for place, outcome in enumerate(outcomes):
            if outcome.result:
                point = {f"test/{name}": outcome.result[f"test_{name}"] for name in ("loss", "accuracy")}
                self._log(place, outcome.step, point, before=outcome.step)
        self.close()

    def close(self) -> None:
        """Closes all trackers."""
        for place, tracker in self._trackers.items():
            if tracker:
                try:
                    tracker.finish()
                except Exception as error:
                    self._failed(place, error)
        self._trackers.clear()

    def _log(self, place: int, step: int, metrics: Mapping[str, float], *, before: int) -> None:
        try:
            if place not in self._trackers:
                self._trackers[place] = self._start(place, before)
            if tracker := self._trackers[place]:
                tracker.log(step, metrics)
        except Exception as error:  # of a network, a disk, an account, or other people's code
            self._failed(place, error)

    def _start(self, place: int, step: int) -> Tracker:
        config, names = self._runs[place]
        if self.track == "tensorboard":
            return TensorBoard(self._folder.joinpath(*names), config, step)
        return Service(self.track, re.sub(r"[^\w.-]", "-", "-".join(names)), config, step)

    def _failed(self, place: int, error: Exception) -> None:
        self._trackers[place] = None
        words = " ".join(str(error).split())[:200]
        logger.warning(f"--track {self.track} failed; the run continues without it: {type(error).__name__}: {words}")
