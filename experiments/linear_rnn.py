"""Linear RNN: the recipe of the LRU with a dense real state matrix, the first step of the ladder to the LRU.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, section 3.1.
Run:      python experiments/linear_rnn.py --task text          (or: ssm-bench train --model linear_rnn --task text)
Expected: ListOps 50.4, Text 89.1, Retrieval 89.1, Image 72.2 (in color), Pathfinder and Path-X fail (the paper's
          Table 7, "Dense A").
Cost:     not measured yet.

The next steps are experiments/lru_disk.py, lru_ring.py and lru.py. Sizes and schedule are those of the LRU (the paper's
Table 9).

Known deviations: those of experiments/lru.py. The eigenvalues of A start in a disk of radius 0.9; the paper uses a
Glorot initialization, radius 1. A Glorot matrix of these sizes usually has eigenvalues larger than 1, and over 4,096
steps the state can then overflow float32 (Bar et al., arXiv 2505.19827).
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import lru

#: Options of the mixer at toy size; the fewer the states, the further eigenvalues stray from the disk.
TINY = {"state_size": 16, "radius": 0.7}

#: Options of the mixer of the LRU that this one has too.
SHARED = ("state_size", "bidirectional")


def with_dense_matrix(recipe: dict) -> dict:
    """Settings of the LRU with another recurrence."""
    return recipe | {"mixer": {name: recipe["mixer"][name] for name in SHARED if name in recipe["mixer"]}}


def defaults(task: TaskSpec) -> dict:
    """The settings of the LRU with another recurrence."""
    change = {
        "model": {"mixer": "linear_rnn"},
        # The radius of the disk that the eigenvalues of A start in (ours).
        "mixer": {"radius": 0.9},
        "report": {
            "title": "Linear RNN",
            "published_row": "Dense linear RNN",
            "published_source": "Orvieto et al., arXiv 2303.06349",
        },
    }
    return merged(with_dense_matrix(lru.defaults(task)), change)


#: Those of the LRU.
RECIPES = {task: with_dense_matrix(recipe) for task, recipe in lru.RECIPES.items()}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "linear_rnn", *sys.argv[1:]]))
