"""Words of the group S5: where a sequence of permutations of five objects takes the first object.

The word problem of S5 is complete for the class NC1. A fixed number of layers of linear recurrences with diagonal
transitions cannot solve it at every length, unless TC0 = NC1: W. Merrill et al., The Illusion of State in State-Space
Models, arXiv 2404.08819. The paper scores the product of all permutations so far, one of 120, after every token; here
the label of a sequence is the image of one object under the product of all. Following one object is complete for NC1
too, since every token may move it.
"""

from itertools import permutations

import numpy as np

from ssm_bench.tasks._probes import Probe, identity_of, probe_facts, probe_spec
from ssm_bench.tasks.parity import Parity

OBJECTS = 5

#: (120, 5): element g takes object i to ELEMENTS[g, i]; in lexicographic order.
ELEMENTS = np.asarray(list(permutations(range(OBJECTS))))

#: (5, 5, 24): the elements that take an object to another.
MOVES = np.asarray([[np.flatnonzero(ELEMENTS[:, i] == j) for j in range(OBJECTS)] for i in range(OBJECTS)])

#: Of the arrays of the set without a variant.
CHECKSUM = "52e8dee4ea8cd81b8f437a3e1c5d1d1e33a7c94c45ea41d4809e548089db3497"


class Permutations(Probe):
    """Random permutations of five objects, applied from first to last; the label is where the first object ends.

    Any length - 1 of the tokens are independent of the label.
    """

    spec = probe_spec("permutations", "S5 words", classes=OBJECTS, length=64)
    variants = ("16", "32", "128", "256", "512")
    symbols = tuple("".join(str(i + 1) for i in element) for element in ELEMENTS)
    fetch_identity = identity_of("S5 words")
    citation, bibtex = Parity.citation, Parity.bibtex
    facts = probe_facts("permutations", OBJECTS, CHECKSUM)

    @staticmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """Permutations that take the first object to `labels`."""
        elements = random.randint(0, len(ELEMENTS), (len(labels), length), dtype=np.int64)
        place = np.zeros(len(labels), np.int64)
        for t in range(length - 1):
            place = ELEMENTS[elements[:, t], place]
        last = random.randint(0, MOVES.shape[2], len(labels), dtype=np.int64)
        elements[:, -1] = MOVES[place, labels, last]
        return 1 + elements
