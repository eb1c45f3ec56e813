"""LSSL: a linear state space layer with one dense state matrix for all channels, computed as an FFT convolution.

Paper:    Gu, Johnson, Goel, Saab, Dao, Rudra, Ré, "Combining Recurrent, Convolutional, and Continuous-time Models with
          Linear State-Space Layers", arXiv 2110.13985.
Run:      python experiments/lssl.py --task text          (or: ssm-bench train --model lssl --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The recipes are ours: layers, norms, batches and steps of S4 (experiments/s4.py) at half its width, with 16 states
instead of 64 and a smaller learning rate. A and B learn at 0.0001, as in configs/model/layer/lssl.yaml of
state-spaces/s4@e757cef.

Known deviations: in the paper A has few degrees of freedom and allows fast solves; here every entry of A is learned.
The paper gives each channel several outputs, this layer one. The paper's layer is causal; this one is bidirectional
with gated mixing, as S4 is in its later versions. The documents of a batch have similar lengths (`train.lengths`), and
the statistics of batch norm are recomputed from training batches before each evaluation (`train.norm_batches`), as for
all models with batch norm here.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{gu2021lssl,
  title = {Combining Recurrent, Convolutional, and Continuous-time Models with Linear State-Space Layers},
  author = {Gu, Albert and Johnson, Isys and Goel, Karan and Saab, Khaled and Dao, Tri and Rudra, Atri and
            R{\\'e}, Christopher},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 8}

#: Longer sequences start with smaller steps, as in the recipe of Path-X.
LONG = 8_192


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "lssl",
            "scaffold": "glu",
            "d_model": 128,
            "layers": 6,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "batch",
            "paper_padding": "nowhere",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {
            "state_size": 16,
            "bidirectional": True,
            "dt_max": 0.1,
            "dt_min": 0.0001 if task.max_length > LONG else 0.001,
            "trainable": True,
        },
        "scaffold": {"activation": "glu"},
        "optimizer": {
            "lr": 0.004,
            "ssm_lr": 0.0001,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
            "groups": {"step_size": "global"},
        },
        "train": {"batch_size": 16},
        "report": {"bibtex": BIBTEX, "title": "LSSL"},
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 64, "layers": 8, "dropout": 0.0, "final_norm": False, "prenorm": False},
        "optimizer": {"lr": 0.004, "warmup": 1_000 / 80_000},
        "train": {"batch_size": 50, "published_steps": 80_000, "evaluations": 40},
    },
    "text": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.004, "warmup": 1_000 / 50_000},
        "train": {"batch_size": 16, "published_steps": 50_000, "evaluations": 32},
    },
    "retrieval": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.004, "warmup": 2_500 / 50_000},
        "train": {"batch_size": 64, "published_steps": 50_000, "evaluations": 20},
    },
    "image": {
        "model": {"d_model": 256, "layers": 6, "dropout": 0.1, "final_norm": False, "norm": "layer", "prenorm": False},
        "optimizer": {"lr": 0.004, "warmup": 900 / 180_000},
        "train": {"batch_size": 50, "published_steps": 180_000, "evaluations": 200},
    },
    "pathfinder": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.002, "warmup": 2_500 / 500_000},
        "train": {"batch_size": 64, "published_steps": 500_000, "evaluations": 200},
    },
    "pathx": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.0005, "warmup": 10_000 / 500_000},
        "train": {"batch_size": 16, "published_steps": 500_000, "evaluations": 50},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lssl", *sys.argv[1:]]))
