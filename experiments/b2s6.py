"""B2S6: block-biased S6, a selective state space model for long sequences.

Paper:    Yu and Erichson, "Block-Biased Mamba for Long-Range Sequence Processing", arXiv 2505.09022.
Run:      python experiments/b2s6.py --task text          (or: ssm-bench train --model b2s6 --task text)
Expected: ListOps 63.85, Text 88.32, Retrieval 91.44, Image 88.81, Pathfinder 95.93, Path-X 97.90 (Table 3 there).
Cost:     not measured yet.

From the paper: depth, width, norm and its place, learning rate, batch size, epochs and weight decay (Table 5); 8
blocks; A shared by all channels; complex A, B and bias of B and a real C (section 7); a smaller learning rate for step
sizes (section 6; how much smaller is not stated).

The paper states neither the block around the unit, nor the directions, the state size, the ranges of the step sizes,
the dropout, the rates of the state space parameters or the schedule, and its code is not public. These are ours: block,
both directions, ranges, dropout and the small rate of S4 (experiments/s4.py), whose recipes have the same columns, the
small rate also for the maps to the step sizes; 16 states and a cosine after a warm-up of a tenth, as in s6_tuned.

Known deviations: B is discretized by the simplified rule of Mamba (the paper: zero-order hold). Steps are the epochs of
the paper on the splits of the task.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{yu2025block,
  title = {Block-Biased {M}amba for Long-Range Sequence Processing},
  author = {Yu, Annan and Erichson, N. Benjamin},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2025},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 4, "blocks": 2}

#: Longer sequences start with smaller steps, as in the recipe of Path-X.
LONG = 8_192


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "b2s6",
            "scaffold": "glu",
            "d_model": 128,
            "layers": 6,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "batch",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {
            "state_size": 16,
            "bidirectional": True,
            "blocks": 8,
            "complex_states": True,
            "dt_max": 0.1,
            "dt_min": 0.0001 if task.max_length > LONG else 0.001,
        },
        "scaffold": {"activation": "glu"},
        "optimizer": {
            "lr": 0.004,
            "ssm_lr": 0.001,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.03,
        },
        "train": {"batch_size": 48, "evaluations": 50},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "B2S6",
            "published_source": "Yu et al., arXiv 2505.09022 (B2S6)",
            "title": "B2S6",
        },
    }


#: Table 5 of the paper; what it does not contain is ours, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 128, "layers": 8, "final_norm": False, "norm": "batch", "prenorm": False},
        "optimizer": {"lr": 0.008, "weight_decay": 0.03},
        "train": {"batch_size": 32, "published_steps": 360_000, "evaluations": 120},
    },
    "text": {
        "model": {"d_model": 256, "layers": 6, "norm": "batch", "prenorm": True},
        "optimizer": {"lr": 0.01, "weight_decay": 0.05},
        "train": {"batch_size": 16, "published_steps": 56_280, "evaluations": 40},
    },
    "retrieval": {
        "model": {"d_model": 128, "layers": 6, "norm": "batch", "prenorm": True},
        "optimizer": {"lr": 0.004, "weight_decay": 0.03},
        "train": {"batch_size": 60, "published_steps": 490_400, "evaluations": 200},
    },
    "image": {
        "model": {
            "d_model": 512,
            "layers": 6,
            "dropout": 0.1,
            "final_norm": False,
            "norm": "layer",
            "prenorm": False,
        },
        "optimizer": {"lr": 0.01, "weight_decay": 0.05},
        "train": {"batch_size": 48, "published_steps": 469_000, "evaluations": 200},
    },
    "pathfinder": {
        "model": {"d_model": 256, "layers": 6, "norm": "batch", "prenorm": True},
        "optimizer": {"lr": 0.004, "weight_decay": 0.03},
        "train": {"batch_size": 48, "published_steps": 833_500, "evaluations": 250},
    },
    "pathx": {
        "model": {"d_model": 128, "layers": 6, "norm": "batch", "prenorm": True},
        "optimizer": {"lr": 0.001, "weight_decay": 0.03},
        "train": {"batch_size": 24, "published_steps": 800_040, "evaluations": 120},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "b2s6", *sys.argv[1:]]))
