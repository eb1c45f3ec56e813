"""Mamba: the selective state space model in the block that it was published with.

Paper:    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752.
Run:      python experiments/mamba.py --task text          (or: ssm-bench train --model mamba --task text)
Expected: ListOps 44.86, Text 81.27, Retrieval 86.51, Image 68.74, Pathfinder 74.17 (MLRA); Path-X was not run.
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 26 min.

The paper does not use LRA. The recipes are those of fluderm/MLRA@ea30f9e (Mamba_report.pdf, section on Mamba; where the
report is silent, configs/experiment/lra/mamba-lra-*.yaml: batch, warm-up, beta2). The numbers of parameters on ListOps,
Text and Retrieval equal those in the report. Path-X is ours: the size of the token tasks with the steps, the warm-up
and the smallest step size of S4. MLRA has a file for it (mamba-lra-pathx.yaml), which it did not run.

Known deviations: the learning rate is constant after the warm-up, as in the report (the file for Image has a cosine).
There is no positional encoding, which the files name. Pathfinder has no feed-forward layer of width 64 next to each
block. A and D have no weight decay, as in the authors' code of Mamba, and neither has the map to the step sizes.
Projections are initialized LeCun-normal, and the last of each block is divided by the square root of their number, as
in the authors' language models.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{gu2024mamba,
  title = {Mamba: Linear-Time Sequence Modeling with Selective State Spaces},
  author = {Gu, Albert and Dao, Tri},
  booktitle = {Conference on Language Modeling},
  year = {2024},
}"""

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
            "layers": 4,
            "dropout": 0.0,
            "final_norm": True,
            "head_width": 128,
            "norm": "rms",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {
            "state_size": 64,
            "bidirectional": False,
            "dt_max": 0.1,
            "dt_min": 0.0001 if task.max_length > LONG else 0.001,
            "dt_rank": 8,
        },
        "scaffold": {"expand": 2.0, "taps": 4},
        "optimizer": {
            "lr": 0.0001,
            "ssm_lr": 0.0001,
            "b2": 0.999,
            "clip_norm": 0.0,
            "schedule": "constant",
            "warmup": 0.1,
            "weight_decay": 0.05,
            "groups": {"feedthrough": "global", "spectrum": "global", "step_size": "global"},
        },
        "train": {"batch_size": 32},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "Mamba (MLRA)",
            "published_source": "fluderm/MLRA@ea30f9e, Mamba_report.pdf Table 1",
            "title": "Mamba",
        },
    }


#: Mamba_report.pdf and the files of configs/experiment/lra.
RECIPES = {
    "listops": {  # Mamba_report.pdf, mamba-lra-listops.yaml
        "model": {"d_model": 128, "layers": 4, "head_width": 128},
        "mixer": {"state_size": 64},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001, "warmup": 2_000 / 75_000, "weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 75_000, "evaluations": 25},
    },
    "text": {  # Mamba_report.pdf, mamba-lra-imdb.yaml
        "model": {"d_model": 128, "layers": 4, "head_width": 128},
        "mixer": {"state_size": 64},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001, "warmup": 2_000 / 31_640, "weight_decay": 0.1},
        "train": {"batch_size": 32, "published_steps": 31_640, "evaluations": 45},
    },
    "retrieval": {  # Mamba_report.pdf, mamba-lra-aan.yaml
        "model": {"d_model": 128, "layers": 4, "head_width": 128},
        "mixer": {"state_size": 64},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001, "warmup": 2_000 / 45_964, "weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 45_964, "evaluations": 10},
    },
    "image": {  # Mamba_report.pdf, mamba-lra-cifar.yaml
        "model": {"d_model": 64, "layers": 3, "head_width": 64},
        "mixer": {"state_size": 32, "dt_rank": 4},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "b2": 0.95,
            "clip_norm": 1.0,
            "warmup": 2_000 / 135_000,
            "weight_decay": 0.1,
        },
        "train": {"batch_size": 50, "published_steps": 135_000, "evaluations": 150},
    },
    "pathfinder": {  # Mamba_report.pdf, mamba-lra-pathfinder.yaml
        "model": {"d_model": 64, "layers": 2, "head_width": 64},
        "mixer": {"state_size": 64, "dt_rank": 4},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001, "b2": 0.95, "warmup": 5_000 / 325_000, "weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 325_000, "evaluations": 65},
    },
    "pathx": {  # ours
        "model": {"d_model": 128, "layers": 4, "head_width": 128},
        "mixer": {"state_size": 64},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001, "b2": 0.95, "warmup": 0.1, "weight_decay": 0.05},
        "train": {"batch_size": 16, "published_steps": 500_000, "evaluations": 50},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "mamba", *sys.argv[1:]]))
