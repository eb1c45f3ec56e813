"""The progress and the outcome of a run."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Outcome:
    """The outcome of a run. Checkpoints store all fields except the status, so that a resumed run continues its sums.

    Attributes:
        status: "ok", "partial" or "diverged".
        message: the reason of a status other than "ok".
        step: number of updates done.
        curve: one entry per evaluation.
        best: accuracy and step of the best validation; None before the first.
        result: the final scores, for "ok".
        sums: loss and accuracy summed since the last evaluation, and the number of steps in them.
        origins: the parts of the run that differ in code, device, libraries or circumstances, in order, each as
            `provenance.part` describes it.
        computed: operations whose precision differs from the settings, with their precision.
        checksum: checksum of the training data.
        peak_memory: peak memory of the training program on a device in bytes, as reported by the compiler; None before.
        seconds: time spent in "train", "compile" and "evaluate".
    """

    status: str = "partial"
    message: str = ""
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    result: dict[str, float] | None = None
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0])
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "compile": 0.0, "evaluate": 0.0})
    origins: list[dict[str, Any]] = field(default_factory=list)
    computed: dict[str, str] = field(default_factory=dict)
    checksum: str = ""
    peak_memory: int | None = None

    def progress(self) -> dict[str, Any]:
        """The fields that a checkpoint stores, as plain JSON."""
        kept = ("step", "curve", "best", "sums", "seconds", "origins", "computed", "checksum", "peak_memory")
        return {name: getattr(self, name) for name in kept}

    def resume(self, progress: dict[str, Any]) -> None:
        """Restores the progress counters from a checkpoint."""
        for name, value in progress.items():
            setattr(self, name, value)

    def add(self, metrics: np.ndarray) -> str:
        """Adds losses and accuracies of the next steps (k, 2); returns a message if a loss is not finite."""
        finite = np.isfinite(metrics[:, 0])
        if not finite.all():
            return f"loss is not finite at step {self.step + int(np.argmin(finite)) + 1}"
        loss, accuracy = metrics.sum(0)
        self.sums = [self.sums[0] + float(loss), self.sums[1] + float(accuracy), self.sums[2] + len(metrics)]
        self.step += len(metrics)
        return ""

    def validated(self, accuracy: float, loss: float) -> bool:
        """Adds a point to the curve; returns whether it is the best so far."""
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
        better = self.best is None or accuracy > self.best["accuracy"]
        if better:
            self.best = {"accuracy": float(accuracy), "step": self.step}
        return better

    def trained(self) -> str:
        """A message if the last validation loss is not finite, which no later step would detect."""
        last = self.curve[-1]
        return _worthless("validation", last["validation_accuracy"], last["validation_loss"], self.step)

    def tested(self, accuracy: float, loss: float) -> str:
        """Stores the final scores of the best parameters; returns a message if they are invalid."""
        assert self.best is not None
        if message := _worthless("test", accuracy, loss, self.best["step"]):
            return message
        self.result = {
            "test_accuracy": float(accuracy),
            "test_loss": float(loss),
            "validation_accuracy": self.best["accuracy"],
            "best_step": int(self.best["step"]),
        }
        return ""


def _worthless(split: str, accuracy: float, loss: float, step: float) -> str:
    """A message if scores are meaningless: an example whose loss is not finite never counts as correct."""
    lost = accuracy == 0 and not np.isfinite(loss)
    return f"{split} loss is not finite with the parameters of step {step:.0f}" if lost else ""
