"""What is known of a set of data before it is read, and how far a set may lie from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

#: A sampled number may differ from the recorded one by that many standard errors of the difference.
STANDARD_ERRORS = 4.0


@dataclass(frozen=True)
class Check:
    """One comparison of `ssm-bench data verify`.

    Attributes:
        name: what was looked at.
        seen: what was found.
        expected: what is recorded; empty where nothing is, and the check only reports.
        holds: whether they agree; True where there is nothing to compare with.
    """

    name: str
    seen: str
    expected: str = ""
    holds: bool = True


@dataclass(frozen=True)
class Sample:
    """Shares measured on a sample of another set of the same kind.

    Attributes:
        size: examples of the sample; math.inf where the shares are known and not measured.
        labels: share of each class.
        lengths: tokens of a document (end token included) at each quantile.
    """

    size: float
    labels: tuple[float, ...] = ()
    lengths: Mapping[float, int] = field(default_factory=dict)

    def band(self, share: float, count: int) -> float:
        """How far a share of `count` examples may lie from `share`."""
        return STANDARD_ERRORS * (share * (1 - share) * (1 / self.size + 1 / count)) ** 0.5


@dataclass(frozen=True)
class Facts:
    """What is known of a task's data of one kind of source.

    Attributes:
        source: who says so.
        parts: examples of each part.
        labels: examples of each class in each part, where they are known exactly.
        sample: what a sample of another set showed, where the numbers are random.
        shared: distinct examples that two parts have in common; for a part with itself, duplicate examples.
        checksums: of the arrays, by names of data and tokenization, where every copy gives the same.
    """

    source: str
    parts: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sample: Sample | None = None
    shared: Mapping[tuple[str, str], int] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)


def share_checks(sample: Sample, labels: np.ndarray, lengths: np.ndarray, classes: int) -> list[Check]:
    """Label shares and length quantiles against a sample, all parts together."""
    found = []
    if sample.labels:
        shares = np.bincount(labels, minlength=classes) / len(labels)
        bands = [sample.band(share, len(labels)) for share in sample.labels]
        found.append(
            Check(
                "share of each class",
                " ".join(f"{share:.3f}" for share in shares),
                " ".join(f"{share:.3f}" for share in sample.labels) + f" (+- {max(bands):.3f})",
                bool((abs(shares - sample.labels) <= bands).all()),
            )
        )
    for quantile, length in sample.lengths.items():
        below = float((lengths < length).mean()), float((lengths <= length).mean())
        band = sample.band(quantile, len(lengths))
        # Lengths are integers: the quantile lies between the two shares.
        holds = below[0] - band <= quantile <= below[1] + band
        seen = int(np.quantile(lengths, quantile, method="nearest"))
        found.append(Check(f"length at {quantile:.0%}", f"{seen:,}", f"{length:,} (+- {band:.1%} of examples)", holds))
    return found
