"""Sequence crossing: the sign of the product of two far inputs.

A layer whose output is linear in its inputs cannot form the product x_i x_j of two of them. In a selective layer such
as S6, the parameters at position j depend on x_j alone; the claim under test is that one such layer cannot form x_i
x_j either. The claim is about the mixer: an MLP after the mixer can compute the sign of the product from a sum of
functions of x_i and x_j, so models with `--config.model.layers=1` are compared with deeper ones, and scaffolds with
each other. The product is posed here as its sign, the label of the sequence, instead of as a real target at position
j.
"""

import numpy as np

from ssm_bench.tasks._probes import Probe, identity_of, probe_facts, probe_spec
from ssm_bench.tasks.selective_copying import SelectiveCopying

#: The inputs: -4 to 4 without 0.
LEVELS = np.asarray([-4, -3, -2, -1, 1, 2, 3, 4])

#: The ids of the levels, plain and marked, in the order of LEVELS.
FIRST_PLAIN, FIRST_MARKED = 1, 1 + len(LEVELS)

#: Of the arrays of the set without a variant.
CHECKSUM = "e5b898f7d3b3bc7f2ce2f1ab9f8b87162d5d79fdd9a8e75aa183fb1ba41a2718"


class Crossing(Probe):
    """Random inputs x, one marked in the first quarter and one in the last; label 1 where their product is positive.

    The sequence without one of the two marked inputs says nothing about the label.
    """

    spec = probe_spec("crossing", "Sequence crossing", classes=2, length=256)
    variants = ("64", "128", "512", "1024")
    symbols = (*(f"{x:+d}" for x in LEVELS), *(f"[{x:+d}]" for x in LEVELS))
    fetch_identity = identity_of("Sequence crossing")
    citation = f"defined by this project; the model that it tests: {SelectiveCopying.citation}"
    bibtex = SelectiveCopying.bibtex
    facts = probe_facts("crossing", 2, CHECKSUM)

    @staticmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """Inputs whose marked ones have a product of the sign that `labels` asks for."""
        count, quarter = len(labels), length // 4
        row = np.arange(count)
        level = random.randint(0, len(LEVELS), (count, length), dtype=np.int64)
        first = random.randint(0, quarter, count, dtype=np.int64)
        second = length - 1 - random.randint(0, quarter, count, dtype=np.int64)
        positive = LEVELS[level[row, first]] * LEVELS[level[row, second]] > 0
        # The levels are symmetric: the mirrored one has the other sign.
        level[row, second] = np.where(positive == labels, level[row, second], len(LEVELS) - 1 - level[row, second])
        tokens = FIRST_PLAIN + level
        for place in (first, second):
            tokens[row, place] = FIRST_MARKED + level[row, place]
        return tokens
