"""Multi-query associative recall (MQAR): which value was stored with a key.

S. Arora et al., Zoology, arXiv 2312.04927, ask for many keys per sequence and score an answer at each of them. Here a
sequence ends with one queried key, and its value is the label of the sequence. Each of the stored keys may be the one
that is asked for, so a model must store all pairs, as in the paper. The pairs lie at random places instead of at the
beginning.
"""

import numpy as np

from ssm_bench.tasks._probes import Probe, choices, evenly, identity_of, probe_facts, probe_spec

KEYS, VALUES = 128, 16

#: A sequence has one pair per so many tokens, but `FEWEST_PAIRS` at least, as far as they fit.
TOKENS_PER_PAIR = 8
FEWEST_PAIRS = 16

BLANK, FIRST_KEY = 1, 2
FIRST_VALUE = FIRST_KEY + KEYS

#: Of the arrays of the set without a variant.
CHECKSUM = "687e929f574c7e1c46216552df1150101987611ca5cf2c949029de82d0362260"


def pairs_of(length: int) -> int:
    """Pairs in a sequence of `length` tokens."""
    return min(max(length // TOKENS_PER_PAIR, FEWEST_PAIRS), (length - 1) // 2, KEYS)


class MQAR(Probe):
    """Pairs of a key and a value between blanks, then one of the keys; its value is the label.

    Keys are distinct. Each of the 16 values occurs equally often among the values of a sequence (to within one), so the
    values alone say nothing about the label.
    """

    spec = probe_spec("mqar", "MQAR", classes=VALUES, length=256)
    variants = ("64", "128", "512", "1024")
    symbols = (".", *(f"k{i}" for i in range(KEYS)), *(f"v{i}" for i in range(VALUES)))
    fetch_identity = identity_of("MQAR")
    citation = "S. Arora et al., Zoology: Measuring and Improving Recall in Efficient Language Models, 2023"
    bibtex = """@misc{arora2023zoology,
  title = {Zoology: Measuring and Improving Recall in Efficient Language Models},
  author = {Arora, Simran and Eyuboglu, Sabri and Timalsina, Aman and Johnson, Isys and Poli, Michael and Zou, James
            and Rudra, Atri and R{\\'e}, Christopher},
  year = {2023},
  eprint = {2312.04927},
  archiveprefix = {arXiv}
}"""
    facts = probe_facts("mqar", VALUES, CHECKSUM)

    @staticmethod
    def draw(labels: np.ndarray, length: int, random: np.random.RandomState) -> np.ndarray:
        """Sequences that end with a key whose value is the label."""
        count, pairs = len(labels), pairs_of(length)
        row = np.arange(count)
        keys = choices(random, count, KEYS, pairs)
        values = evenly(random, count, VALUES, pairs)
        # Renaming the values makes the label the value of the first key; the places of the pairs are random.
        values = (values + (labels - values[:, 0])[:, None]) % VALUES
        # A pair takes two of the length - 1 tokens: places among units, of which `pairs` have two tokens.
        units = length - 1 - pairs
        place = np.sort(choices(random, count, units, pairs), axis=1) + np.arange(pairs)
        order = choices(random, count, pairs, pairs)
        tokens = np.full((count, length), BLANK)
        tokens[row[:, None], place] = FIRST_KEY + np.take_along_axis(keys, order, axis=1)
        tokens[row[:, None], place + 1] = FIRST_VALUE + np.take_along_axis(values, order, axis=1)
        tokens[:, -1] = FIRST_KEY + keys[:, 0]
        return tokens
