"""S6 (tuned): the architecture of s6, bidirectional, with changes that are known to help it.

Paper:    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752.
Run:      python experiments/s6_tuned.py --task text          (or: ssm-bench train --model s6_tuned --task text)
Expected: no published numbers; for comparison, B2S6, a selective model with block-wise biases, reaches ListOps 63.85,
          Text 88.32, Retrieval 91.44, Image 88.81, Pathfinder 95.93, Path-X 97.90 (Yu and Erichson, arXiv 2505.09022).
Cost:     not measured yet.

The recipes are ours; they ask how much of the S6 row is due to its recipe. From B2S6 (its Table 5): depth, width and
batch; a small learning rate for step sizes, which it finds to stabilize selective models; complex states on pixels,
where it finds that real ones stop near half of the images. From S4, S5 and Mamba: both directions, token embeddings, a
warm-up, and no weight decay on A, D, step sizes, biases and norms. From Mamba-2: RMS norms, one of them after the gate,
which bounds the branches: with batch norm and without that norm, a run on Text at a learning rate of 0.002 diverged.
Learning rates, clipping and lengths of the schedules are our choice.

Known deviations from the S6 row: all of these, 16 states instead of 64, and an expansion of 1, since the cost of a step
is that of its two scans, one per direction.
"""

import sys

from ssm_bench.data import TaskSpec
from ssm_bench.experiments import mamba

#: Options of the mixer at toy size.
TINY = {"state_size": 4, "dt_rank": 2}

#: Longer sequences start with smaller steps, as in the recipe of Path-X.
LONG = 8_192


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "s6",
            "scaffold": "mamba",
            "d_model": 128,
            "layers": 6,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "rms",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {
            "state_size": 16,
            "bidirectional": True,
            "complex_states": False,
            "dt_max": 0.1,
            "dt_min": 0.0001 if task.max_length > LONG else 0.001,
            "dt_rank": 8,
        },
        "scaffold": {"expand": 1.0, "norm_gated": True, "taps": 4},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.1 * 0.001,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.03,
            "groups": {"feedthrough": "global"},
        },
        "train": {"batch_size": 48, "evaluations": 50},
        "report": {"bibtex": mamba.BIBTEX, "title": "S6 (tuned)"},
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 128, "layers": 8, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.1 * 0.001, "weight_decay": 0.03},
        "train": {"batch_size": 32, "published_steps": 80_000},
    },
    "text": {
        "model": {"d_model": 256, "layers": 6, "dropout": 0.1},
        "mixer": {"dt_rank": 16},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.1 * 0.001, "weight_decay": 0.05},
        "train": {"batch_size": 16, "published_steps": 50_000},
    },
    "retrieval": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.1 * 0.001, "weight_decay": 0.03},
        "train": {"batch_size": 60, "published_steps": 50_000},
    },
    "image": {
        "model": {"d_model": 512, "layers": 6, "dropout": 0.1},
        "mixer": {"complex_states": True, "dt_rank": 32},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.1 * 0.001, "weight_decay": 0.05},
        "train": {"batch_size": 48, "published_steps": 180_000},
    },
    "pathfinder": {
        "model": {"d_model": 256, "layers": 6, "dropout": 0.0},
        "mixer": {"complex_states": True, "dt_rank": 16},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.1 * 0.001, "weight_decay": 0.03},
        "train": {"batch_size": 48, "published_steps": 400_000},
    },
    "pathx": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "mixer": {"complex_states": True},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.1 * 0.0005, "weight_decay": 0.03},
        "train": {"batch_size": 24, "published_steps": 400_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "s6_tuned", *sys.argv[1:]]))
