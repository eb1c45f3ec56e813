"""RG-LRU (tuned): the recurrence of rg_lru, bidirectional, with changes that are known to help on these tasks.

Paper:    De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
          arXiv 2402.19427.
Run:      python experiments/rg_lru_tuned.py --task text          (or: ssm-bench train --model rg_lru_tuned --task text)
Expected: no published numbers; for comparison, the LRU, its predecessor without gates, reaches ListOps 60.2, Text 89.4,
          Retrieval 89.9, Pathfinder 95.1, Path-X 94.2 (Orvieto et al., arXiv 2303.06349).
Cost:     training steps of the whole schedule on one H100, from the records under results/: Text 22 min.

The recipes are ours; they ask how much of the RG-LRU row is due to its recipe. From the LRU (its Table 9): depth, width
(half of it on Image, where this block has more parameters), batch, steps, warm-up, weight decay, and radii nearer to 1
on Path-X. From S5: both directions on every task, and dropout (on Retrieval that of the LRU). From Griffin: the block,
with narrow branches, since each direction costs as much again; gates in 8 blocks; RMS norms and clipping. The batch
norm of the LRU does not suit this block, whose branches are multiplied: inputs unlike the training data are not scaled
back, grow with their square in every layer, and on Text gave a few reviews logits in the billions. Learning rates are
our choice; alpha has half the rate and no weight decay.

Known deviations from the RG-LRU row: all of these, token embeddings instead of one number each, and memories of all
lengths equally frequent at initialization.
"""

import sys

from ssm_bench.data import TaskSpec
from ssm_bench.experiments import hawk

#: Options of the mixer at toy size.
TINY = {"blocks": 2}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "rg_lru",
            "scaffold": "hawk",
            "d_model": 128,
            "layers": 6,
            "dropout": 0.1,
            "final_norm": True,
            "norm": "rms",
            "paper_padding": "nowhere",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {"bidirectional": True, "blocks": 8, "init": "log_uniform", "r_max": 0.999, "r_min": 0.9},
        "scaffold": {"expand": 1.0, "mlp_expand": 1.0, "taps": 4},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.5 * 0.001,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
        },
        "train": {"batch_size": 32, "evaluations": 50},
        "report": {"bibtex": hawk.BIBTEX, "title": "RG-LRU (tuned)"},
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 128, "dropout": 0.0},
        "mixer": {"r_max": 0.999, "r_min": 0.9},
        "optimizer": {"lr": 0.002, "ssm_lr": 0.5 * 0.002},
        "train": {"batch_size": 32, "published_steps": 80_000},
    },
    "text": {
        "model": {"d_model": 256, "dropout": 0.1},
        "mixer": {"r_max": 0.999, "r_min": 0.9},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.5 * 0.001},
        "train": {"batch_size": 32, "published_steps": 50_000},
    },
    "retrieval": {
        "model": {"d_model": 128, "dropout": 0.1},
        "mixer": {"r_max": 0.999, "r_min": 0.9},
        "optimizer": {"lr": 0.002, "ssm_lr": 0.5 * 0.002},
        "train": {"batch_size": 64, "published_steps": 100_000},
    },
    "image": {
        "model": {"d_model": 256, "dropout": 0.1},
        "mixer": {"r_max": 0.999, "r_min": 0.9},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.5 * 0.001},
        "train": {"batch_size": 50, "published_steps": 180_000},
    },
    "pathfinder": {
        "model": {"d_model": 192, "dropout": 0.05},
        "mixer": {"r_max": 0.999, "r_min": 0.9},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.5 * 0.001},
        "train": {"batch_size": 64, "published_steps": 500_000},
    },
    "pathx": {
        "model": {"d_model": 128, "dropout": 0.0},
        "mixer": {"r_max": 0.9999, "r_min": 0.99},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.5 * 0.001},
        "train": {"batch_size": 32, "published_steps": 250_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "rg_lru_tuned", *sys.argv[1:]]))
