"""Selective copying: recall one of the marked tokens among noise, by its number.

A. Gu and T. Dao, Mamba, arXiv 2312.00752, section 4.1.1 (after L. Jing et al., arXiv 1706.02761), ask a model to
repeat all 16 data tokens in order after the input, on sequences of 4,096 tokens. Here a sequence ends with an index
token k, and the k-th data token is the label of the sequence. Each k may be asked for, so a model must store all of
them in order. The 16 data tokens are distinct here; in the paper they may repeat.
"""

import numpy as np

from ssm_bench.tasks._probes import Probe, choices, identity_of, probe_facts, probe_spec

DATA = 16

NOISE, FIRST_INDEX = 1, 2
FIRST_DATA = FIRST_INDEX + DATA

#: Of the arrays of the set without a variant.
CHECKSUM = "04b786e5afb563a77d2f476e35e339e56635f18330ee142bb1f7c5edb9c43ba8"


def marks_of(length: int) -> int:
    """Data tokens in a sequence of `length` tokens: 16, or fewer in a short one."""
    return min(DATA, length // 2)


class SelectiveCopying(Probe):
    """Data tokens at random places among noise, then an index k; the k-th data token is the label.

    Each of the 16 data tokens occurs once (in sequences of 32 tokens or more), so which of them occur says nothing
    about the label.
    """

    spec = probe_spec("selective_copying", "Selective copying", classes=DATA, length=256)
    variants = ("64", "128", "512", "1024")
    symbols = (".", *(f"#{i + 1}" for i in range(DATA)), *"abcdefghijklmnop")
    fetch_identity = identity_of("Selective copying")
    citation = "A. Gu and T. Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023"
    bibtex = """@inproceedings{gu2024mamba,
  title = {Mamba: Linear-Time Sequence Modeling with Selective State Spaces},
  author = {Gu, Albert and Dao, Tri},
  booktitle = {Conference on Language Modeling},
  year = {2024},
}"""
    facts = probe_facts("selective_copying", DATA, CHECKSUM)

    @staticmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """Sequences whose last token is the number of the data token `labels`."""
        count, marks = len(labels), marks_of(length)
        row = np.arange(count)
        data = choices(random, count, DATA, marks)
        index = random.randint(0, marks, count, dtype=np.int64)
        # Renaming the data tokens makes the label the one that is asked for.
        data = (data + (labels - data[row, index])[:, None]) % DATA
        place = np.sort(choices(random, count, length - 1, marks), axis=1)
        tokens = np.full((count, length), NOISE)
        tokens[row[:, None], place] = FIRST_DATA + data
        tokens[:, -1] = FIRST_INDEX + index
        return tokens
