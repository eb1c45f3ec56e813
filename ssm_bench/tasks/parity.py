"""Parity: whether the number of ones is odd.

The word problem of the group of two elements, and the simplest task of state tracking: W. Merrill et al., The
Illusion of State in State-Space Models, arXiv 2404.08819; Y. Sarrof et al., arXiv 2405.17394, show that linear
recurrences with non-negative transitions cannot do it at every length. These papers score the state after every
token; here the label of a sequence is its last state.
"""

import numpy as np

from ssm_bench.tasks._probes import Probe, identity_of, probe_facts, probe_spec

ZERO = 1

#: Of the arrays of the set without a variant.
CHECKSUM = "57db568270d2875d5f8bba3fdf847a7ba1997fd69502e261f6fd9d3338363f49"


class Parity(Probe):
    """Random bits; the label is 1 where the number of ones is odd.

    Any length - 1 of the bits are independent of the label.
    """

    spec = probe_spec("parity", "Parity", classes=2, length=64)
    variants = ("32", "128", "256", "512", "1024")
    symbols = ("0", "1")
    fetch_identity = identity_of("Parity")
    citation = "W. Merrill, J. Petty and A. Sabharwal, The Illusion of State in State-Space Models, 2024"
    bibtex = """@misc{merrill2024illusion,
  title = {The Illusion of State in State-Space Models},
  author = {Merrill, William and Petty, Jackson and Sabharwal, Ashish},
  year = {2024},
  eprint = {2404.08819},
  archiveprefix = {arXiv}
}"""
    facts = probe_facts("parity", 2, CHECKSUM)

    @staticmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """Bits whose sum modulo 2 is the label."""
        bits = random.randint(0, 2, (len(labels), length), dtype=np.int64)
        bits[:, -1] = (labels + bits[:, :-1].sum(1)) % 2
        return ZERO + bits
