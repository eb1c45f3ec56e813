"""LRU on the disk: eigenvalues that start uniformly on the unit disk, without normalization.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, section 3.3.
Run:      python experiments/lru_disk.py --task text          (or: ssm-bench train --model lru_disk --task text)
Expected: ListOps 59.4, Text 87.6, Retrieval 89.1, Image 87.2 (in color), Pathfinder 93.5, Path-X fails (the paper's
          Table 7, "Stable Exp").
Cost:     not measured yet.

The second step of the ladder from the linear RNN to the LRU: a diagonal state matrix in the stable exponential form,
with the initial spectrum of a dense Glorot matrix. Sizes and schedule are those of the LRU (the paper's Table 9).

Known deviations: those of experiments/lru.py. The phase is learned as a logarithm, as in the LRU; the paper states this
for the LRU only. The paper's rows without the exponential form are not implemented.
"""

import math
import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import lru

#: Options of the mixer at toy size.
TINY = {"state_size": 16}

#: The whole unit disk (the paper, section 3.3).
DISK = {"r_min": 0.0, "r_max": 1.0, "max_phase": 2 * math.pi}


def defaults(task: TaskSpec) -> dict:
    """The settings of the LRU on the disk, without gamma."""
    change = {
        "model": {"mixer": "diagonal_rnn"},
        "mixer": DISK,
        "report": {
            "title": "LRU, disk",
            "published_row": "LRU on the disk (stable exp)",
            "published_source": "Orvieto et al., arXiv 2303.06349",
        },
    }
    return merged(lru.defaults(task), change)


#: Those of the LRU on the disk.
RECIPES = {task: merged(recipe, {"mixer": DISK}) for task, recipe in lru.RECIPES.items()}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lru_disk", *sys.argv[1:]]))
