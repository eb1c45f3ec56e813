"""How a run is getting on, and how it ended."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Outcome:
    """How a run ended; all of it but the status travels in the checkpoint, so that a resumed run adds up.

    Attributes:
        status: "ok", "partial" or "diverged".
        message: what happened, empty for "ok".
        step: updates done.
        curve: one entry per evaluation.
        best: accuracy and step of the best validation, None before the first.
        result: the final scores, for "ok".
        sums: loss and accuracy summed since the last evaluation, and the number of steps in them.
        origins: the code and device of every part of the run, in order.
        notes: what was said of the circumstances of its parts.
        checksum: of the data it is trained on.
        peak_memory: bytes that the training program needs at once on a device, as its compiler says; None before.
        seconds: spent in "train", "compile" and "evaluate".
    """

    status: str = "partial"
    message: str = ""
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    result: dict[str, float] | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0])
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "compile": 0.0, "evaluate": 0.0})
    origins: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checksum: str = ""
    peak_memory: int | None = None

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain JSON."""
        kept = ("step", "curve", "best", "sums", "seconds", "origins", "notes", "checksum", "peak_memory")
        return {name: getattr(self, name) for name in kept}

    def resume(self, progress: dict[str, Any]) -> None:
        """Goes on from what a checkpoint kept."""
        for name, value in progress.items():
            setattr(self, name, value)

    def add(self, metrics: np.ndarray) -> str:
        """Counts losses and accuracies of the next steps (k, 2); returns what is wrong with them, if anything is."""
        finite = np.isfinite(metrics[:, 0])
        if not finite.all():
            return f"loss is not finite at step {self.step + int(np.argmin(finite)) + 1}"
        loss, accuracy = metrics.sum(0)
        self.sums = [self.sums[0] + float(loss), self.sums[1] + float(accuracy), self.sums[2] + len(metrics)]
        self.step += len(metrics)
        return ""

    def validated(self, accuracy: float, loss: float) -> bool:
        """Adds a point to the curve; returns whether it is the best so far, which takes a finite loss."""
        train_loss, train_accuracy, count = self.sums
        self.curve.append(
            {
                "step": self.step,
                "train_loss": train_loss / count,
                "train_accuracy": train_accuracy / count,
                "validation_loss": float(loss),
                "validation_accuracy": float(accuracy),
                "seconds": round(self.seconds["train"], 3),
            }
        )
        self.sums = [0.0, 0.0, 0]
        # Logits that are not numbers have an accuracy too: the share of the first class.
        better = np.isfinite(loss) and (self.best is None or accuracy > self.best["accuracy"])
        if better:
            self.best = {"accuracy": float(accuracy), "step": self.step}
        return bool(better)

    def trained(self) -> str:
        """What is wrong with the last parameters, if anything is: no step comes after them that could tell."""
        return "" if np.isfinite(self.curve[-1]["validation_loss"]) else self._not_finite("validation", self.step)

    def tested(self, accuracy: float, loss: float) -> str:
        """Takes the final scores, which are those of the best validation; returns what is wrong with them."""
        assert self.best is not None
        if not np.isfinite(loss):
            return self._not_finite("test", self.best["step"])
        self.result = {
            "test_accuracy": float(accuracy),
            "test_loss": float(loss),
            "validation_accuracy": self.best["accuracy"],
            "best_step": int(self.best["step"]),
        }
        return ""

    def _not_finite(self, split: str, step: float) -> str:
        return f"{split} loss is not finite with the parameters of step {step:.0f}"
