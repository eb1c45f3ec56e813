"""Mamba-2: state space duality, a selective model with one decay per head, in the block of Mamba with a gated norm.

Paper:    Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space
          Duality", arXiv 2405.21060.
Run:      python experiments/mamba2.py --task text          (or: ssm-bench train --model mamba2 --task text)
Expected: ListOps 41.45, Text 86.09, Retrieval 79.23, Image 71.96, Pathfinder 75.45, Path-X 69.07 (run by a third
          party: Yu and Erichson, arXiv 2505.09022).
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 14 min.

No recipe for LRA is published, so the recipes are ours: batch and lengths of MLRA's Mamba (see experiments/mamba.py),
its depth and width on token tasks for every task, states, heads of 64 channels and norm of the paper, and a cosine
after a warm-up of a tenth at a learning rate of 0.001.

Known deviations from the authors' block: B, C and step sizes are projected from the mixer's own input, after its
convolution, instead of in parallel to it. Projections are initialized LeCun-normal.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{dao2024transformers,
  title = {Transformers are {SSM}s: Generalized Models and Efficient Algorithms Through Structured State Space
           Duality},
  author = {Dao, Tri and Gu, Albert},
  booktitle = {International Conference on Machine Learning},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "heads": 2}

#: Longer sequences start with smaller steps, as in the recipe of Path-X.
LONG = 8_192


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "ssd",
            "scaffold": "mamba",
            "d_model": 128,
            "layers": 4,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "rms",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {
            "state_size": 128,
            "heads": 4,
            "bidirectional": False,
            "dt_max": 0.1,
            "dt_min": 0.0001 if task.max_length > LONG else 0.001,
        },
        "scaffold": {"expand": 2.0, "norm_gated": True, "taps": 4},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
            "groups": {"feedthrough": "global", "spectrum": "global", "step_size": "global"},
        },
        "train": {"batch_size": 32},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "Mamba-2",
            "published_source": "Yu et al., arXiv 2505.09022 (B2S6)",
            "title": "Mamba-2",
        },
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "optimizer": {"weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 75_000, "evaluations": 25},
    },
    "text": {
        "optimizer": {"weight_decay": 0.1},
        "train": {"batch_size": 32, "published_steps": 31_640, "evaluations": 45},
    },
    "retrieval": {
        "optimizer": {"weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 45_964, "evaluations": 10},
    },
    "image": {
        "optimizer": {"weight_decay": 0.1},
        "train": {"batch_size": 50, "published_steps": 135_000, "evaluations": 150},
    },
    "pathfinder": {
        "optimizer": {"weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 325_000, "evaluations": 65},
    },
    "pathx": {
        "optimizer": {"weight_decay": 0.05},
        "train": {"batch_size": 16, "published_steps": 500_000, "evaluations": 50},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "mamba2", *sys.argv[1:]]))
