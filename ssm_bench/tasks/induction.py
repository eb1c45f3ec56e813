"""Induction heads: what followed the earlier occurrence of the last token.

A. Gu and T. Dao, Mamba, arXiv 2312.00752, section 4.1.2, after C. Olsson et al., In-context Learning and Induction
Heads, 2022, with 16 tokens and a special one. As in the paper, the special token occurs once in the sequence and once
at its end, and the model answers once, which makes the answer the label of the sequence. In the paper, training
examples are drawn without end; here they are a fixed set.
"""

import numpy as np

from ssm_bench.tasks._probes import Probe, evenly, identity_of, probe_facts, probe_spec

ORDINARY = 16

TRIGGER, FIRST_ORDINARY = 1, 2

#: Of the arrays of the set without a variant.
CHECKSUM = "ce68d12c2e3fa1dd43b1e45a731af3d30c8279526dec81b1eb45e756a4422850"


class Induction(Probe):
    """Random tokens with one special token among them and one at the end; the token after the former is the label.

    Each of the 16 ordinary tokens occurs equally often in a sequence (to within one), so their counts say nothing about
    the label.
    """

    spec = probe_spec("induction", "Induction", classes=ORDINARY, length=256)
    variants = ("64", "128", "512", "1024")
    symbols = ("!", *"abcdefghijklmnop")
    fetch_identity = identity_of("Induction")
    citation = "C. Olsson et al., In-context Learning and Induction Heads, 2022"
    bibtex = """@misc{olsson2022context,
  title = {In-context Learning and Induction Heads},
  author = {Olsson, Catherine and Elhage, Nelson and Nanda, Neel and Joseph, Nicholas and DasSarma, Nova and others},
  year = {2022},
  eprint = {2209.11895},
  archiveprefix = {arXiv}
}"""
    facts = probe_facts("induction", ORDINARY, CHECKSUM)

    @staticmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """Sequences whose special token is followed by `labels`."""
        count, ordinary = len(labels), length - 2
        row = np.arange(count)
        drawn = evenly(random, count, ORDINARY, ordinary)
        place = random.randint(0, ordinary, count, dtype=np.int64)
        # Renaming the ordinary tokens makes the label the one at the place, in front of which the special token goes.
        drawn = (drawn + (labels - drawn[row, place])[:, None]) % ORDINARY
        column = np.arange(length - 1)
        tokens = np.empty((count, length), np.int64)
        tokens[:, :-1] = FIRST_ORDINARY + np.take_along_axis(drawn, column - (column > place[:, None]), axis=1)
        tokens[row, place] = TRIGGER
        tokens[:, -1] = TRIGGER
        return tokens
