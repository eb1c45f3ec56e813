"""LRU (tuned): the LRU with the learning rates of a public configuration in a fork of state-spaces/s4.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349.
Run:      python experiments/lru_tuned.py --task text          (or: ssm-bench train --model lru_tuned --task text)
Expected: no published numbers; for comparison, the paper reports for the LRU ListOps 60.2, Text 89.4, Retrieval 89.9,
          Image 89.0 (in color), Pathfinder 95.1, Path-X 94.2.
Cost:     not measured yet.

The paper does not publish its learning rates, and experiments/lru.py chooses its own. This recipe takes those of the
public configuration instead, and on ListOps also its schedule and ring. Everything else is the recipe of
experiments/lru.py, including the ratio of the learning rate of the recurrence to that of the other parameters. Known
deviations: those of experiments/lru.py; the rest of the public configuration is not used, since the question is how
much of the difference to the paper the learning rates explain.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import lru

#: Options of the mixer at toy size.
TINY = {"state_size": 16}


def defaults(task: TaskSpec) -> dict:
    """The settings of the LRU, without a published row to compare with."""
    return merged(lru.defaults(task), {"report": {"title": "LRU (tuned)", "published_row": "", "published_source": ""}})


#: Those of the LRU with the rates of the public configuration; the first factor of `ssm_lr` is the paper's (Table 9).
RECIPES = merged(
    lru.RECIPES,
    {
        "listops": {
            "mixer": {"r_max": 0.9},
            "optimizer": {"lr": 0.003, "ssm_lr": 0.5 * 0.003, "warmup": 12_000 / 90_000},
            "train": {"published_steps": 90_000},
        },
        "text": {"optimizer": {"lr": 0.004, "ssm_lr": 0.1 * 0.004}},
        "retrieval": {"optimizer": {"lr": 0.002, "ssm_lr": 0.5 * 0.002}},
        "image": {"optimizer": {"lr": 0.005, "ssm_lr": 0.25 * 0.005}},
        "pathfinder": {"optimizer": {"lr": 0.004, "ssm_lr": 0.25 * 0.004}},
        "pathx": {"optimizer": {"lr": 0.002, "ssm_lr": 0.25 * 0.002}},
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lru_tuned", *sys.argv[1:]]))
