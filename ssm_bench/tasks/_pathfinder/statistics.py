"""What is true of a generated set, with intervals, and how far marker geometry alone predicts its labels."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import KDTree

from ssm_bench.tasks._pathfinder.search import FACTS

#: Half the width of an interval in standard errors: 95 %.
WIDTH = 1.96

#: Neighbors that vote on a label.
_NEIGHBOURS = 51


class Estimate(NamedTuple):
    """A mean, and half the width of its 95 % interval."""

    mean: float
    half: float

    def covers(self, value: float, slack: float = 0.0) -> bool:
        """Whether a value lies in the interval, widened by `slack` on either side."""
        return abs(self.mean - value) <= self.half + slack


def estimate(values: np.ndarray) -> Estimate:
    """The mean of independent values."""
    values = np.asarray(values, float)
    return Estimate(float(values.mean()), float(WIDTH * values.std() / len(values) ** 0.5))


@dataclass(frozen=True)
class Statistics:
    """Of a sample of a set.

    Attributes:
        success: share of the searches for two contours that succeed.
        label: share of label 1.
        distractors: placed in an image.
        ink: mean gray level, 0..1.
        black: share of pixels that are zero.
        crossing: share of images in which the two contours have ink at the same pixel.
        distance: between the markers, by label, in pixels.
        first: smallest and largest row or column in which the first contour starts.
    """

    success: Estimate
    label: Estimate
    distractors: Estimate
    ink: Estimate
    black: Estimate
    crossing: Estimate
    distance: tuple[Estimate, Estimate]
    first: tuple[int, int]


def statistics(pixels: np.ndarray, facts: np.ndarray) -> Statistics:
    """Statistics of images and what is known of them, as `generate.make` gives them."""
    column = {name: facts[:, i] for i, name in enumerate(FACTS)}
    searches = column["searches"]
    share = len(facts) / searches.sum()
    distance = np.hypot(column["origin_y"] - column["end_y"], column["origin_x"] - column["end_x"])
    starts = np.concatenate([column["first_y"], column["first_x"]])
    return Statistics(
        # Their spread as it is seen: a geometric law has a smaller one, since some sets mix searches of two kinds.
        success=Estimate(float(share), float(WIDTH * share**2 * searches.std() / len(facts) ** 0.5)),
        label=estimate(column["label"]),
        distractors=estimate(column["distractors"]),
        ink=estimate(pixels.mean(axis=(1, 2)) / 255),
        black=estimate((pixels == 0).mean(axis=(1, 2))),
        crossing=estimate(column["crossing"] > 0),
        distance=(estimate(distance[column["label"] == 0]), estimate(distance[column["label"] == 1])),
        first=(int(starts.min()), int(starts.max())),
    )


def geometry_accuracy(facts: np.ndarray, side: int) -> Estimate:
    """How often the places of the two markers alone predict the label: 0.5 is chance.

    Nearest neighbors, learnt on one half and scored on the other, see the distance of the markers and how far each is
    from the middle and from the nearest edge; which of them is the start of a contour cannot be seen.
    """
    column = {name: facts[:, i].astype(float) for i, name in enumerate(FACTS)}
    origin = np.stack([column["origin_y"], column["origin_x"]], axis=1)
    end = np.stack([column["end_y"], column["end_x"]], axis=1)
    middle = (side - 1) / 2
    radius = np.sort([np.hypot(*(place - middle).T) for place in (origin, end)], axis=0)
    edge = np.sort([np.minimum(place, side - 1 - place).min(axis=1) for place in (origin, end)], axis=0)
    features = np.stack([np.hypot(*(origin - end).T), *radius, *edge], axis=1)
    features /= features.std(axis=0)
    labels, half = column["label"], len(features) // 2
    _, nearest = KDTree(features[:half]).query(features[half:], _NEIGHBOURS)
    guess = labels[:half][nearest].mean(axis=1) > labels[:half].mean()
    return estimate(guess == labels[half:])
