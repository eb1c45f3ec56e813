"""LRU on a ring: eigenvalues that start on a tuned ring near the unit circle, without normalization.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, section 3.3.
Run:      python experiments/lru_ring.py --task text          (or: ssm-bench train --model lru_ring --task text)
Expected: ListOps 59.4, Text 89.4, Retrieval 90.1, Image 88.1 (in color), Pathfinder 94.4, Path-X fails (the paper's
          Table 7, "+ Ring Init").
Cost:     not measured yet.

The third step of the ladder from the linear RNN to the LRU, which adds gamma. The rings are those of the paper's Table
8, sizes and schedule those of its Table 9.

Known deviations: those of experiments/lru.py. The table has no ring for Path-X, which uses the ring and the phases of
the LRU here.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import lru

#: Options of the mixer at toy size.
TINY = {"state_size": 16}


def defaults(task: TaskSpec) -> dict:
    """The settings of the LRU without gamma."""
    change = {
        "model": {"mixer": "diagonal_rnn"},
        "report": {
            "title": "LRU, ring",
            "published_row": "LRU without normalisation (stable exp + ring)",
            "published_source": "Orvieto et al., arXiv 2303.06349",
        },
    }
    return merged(lru.defaults(task), change)


#: Those of the LRU on the rings of the paper's Table 8.
RECIPES = merged(
    lru.RECIPES,
    {
        "listops": {"mixer": {"r_min": 0.0, "r_max": 1.0}},
        "text": {"mixer": {"r_min": 0.0, "r_max": 0.9}},
        "retrieval": {"mixer": {"r_min": 0.5, "r_max": 0.9}},
        "image": {"mixer": {"r_min": 0.9, "r_max": 0.99}},
        "pathfinder": {"mixer": {"r_min": 0.9, "r_max": 0.999}},
        # Not in the table: the ring of the LRU.
        "pathx": {"mixer": {"r_min": 0.999, "r_max": 0.9999}},
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lru_ring", *sys.argv[1:]]))
