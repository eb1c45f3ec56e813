"""LRU on the disk: eigenvalues that start uniformly on the whole unit disk, and no normalisation.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, section 3.3.
Run:      python experiments/lru_disk.py --task text          (or: ssm-bench train --model lru_disk --task text)
Expected: ListOps 59.4, Text 87.6, Retrieval 89.1, Image 87.2 (in colour), Pathfinder 93.5, Path-X fails (the paper's
          Table 7, "Stable Exp").
Cost:     not measured yet.

Second rung of the ladder from the linear RNN to the LRU: diagonal, with the stable exponential form of the eigenvalues,
and the initial spectrum of a dense Glorot matrix. Sizes and schedule are those of the LRU (the paper's Table 9). Known
deviations: those of experiments/lru.py; the phase is learned as a logarithm, as in the LRU, where the paper says so of
the LRU alone; the paper's rows without the exponential form are left out.
"""

import math
import sys

from ssm_bench.config import experiment

#: Options of the mixer at toy size.
TINY = {"state_size": 16}

#: r_min and r_max.
RECIPES = {
    "listops": (0.0, 1.0),
    "text": (0.0, 1.0),
    "retrieval": (0.0, 1.0),
    "image": (0.0, 1.0),
    "pathfinder": (0.0, 1.0),
    "pathx": (0.0, 1.0),
}


def get_config(task: str):
    """The recipe of the LRU on the disk, without gamma."""
    r_min, r_max = RECIPES[task]
    config = experiment("lru").get_config(task)
    config.model.update(mixer="diagonal_rnn")
    config.mixer.update(r_min=r_min, r_max=r_max, max_phase=2 * math.pi)
    config.report.update(
        title="LRU, disk",
        published_row="LRU on the disk (stable exp)",
        published_source="Orvieto et al., arXiv 2303.06349",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lru_disk", *sys.argv[1:]]))
