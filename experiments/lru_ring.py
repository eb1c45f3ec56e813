"""LRU on a ring: eigenvalues that start on a tuned ring near the unit circle, and no normalisation.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, section 3.3.
Run:      python experiments/lru_ring.py --task text          (or: ssm-bench train --model lru_ring --task text)
Expected: ListOps 59.4, Text 89.4, Retrieval 90.1, Image 88.1 (in colour), Pathfinder 94.4, Path-X fails (the paper's
          Table 7, "+ Ring Init").
Cost:     not measured yet.

Third rung of the ladder from the linear RNN to the LRU, which adds gamma. The rings are those of the paper's Table 8,
sizes and schedule those of its Table 9. Known deviations: those of experiments/lru.py; the table has no ring for
Path-X, which has ring and phases of the LRU here.
"""

import sys

from ssm_bench.config import experiment

#: Options of the mixer at toy size.
TINY = {"state_size": 16}

#: r_min and r_max.
RECIPES = {
    "listops": (0.0, 1.0),
    "text": (0.0, 0.9),
    "retrieval": (0.5, 0.9),
    "image": (0.9, 0.99),
    "pathfinder": (0.9, 0.999),
    "pathx": (0.999, 0.9999),
}


def get_config(task: str):
    """The recipe of the LRU on another ring, without gamma."""
    r_min, r_max = RECIPES[task]
    config = experiment("lru").get_config(task)
    config.model.update(mixer="diagonal_rnn")
    config.mixer.update(r_min=r_min, r_max=r_max)
    config.report.update(
        title="LRU, ring",
        published_row="LRU without normalisation (stable exp + ring)",
        published_source="Orvieto et al., arXiv 2303.06349",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lru_ring", *sys.argv[1:]]))
