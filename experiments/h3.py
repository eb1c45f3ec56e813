"""H3: two gates and a shift around a diagonal state space model, followed by an MLP.

Paper:    Fu, Dao, Saab, Thomas, Rudra, Ré, "Hungry Hungry Hippos: Towards Language Modeling with State Space Models",
          arXiv 2212.14052.
Run:      python experiments/h3.py --task text          (or: ssm-bench train --model h3 --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The layer and its block (pre-norm with layer norm, an MLP of four times the width) are those of HazyResearch/H3@5c4d06b:
state and shift of size 64, S4D-Lin, bilinear. `--config.model.scaffold=h3` with the mixer s4d is the same model. The
recipes are ours: steps, batches, layers and dropout of S4D (experiments/s4d.py) at half its width, which gives 1.0 to
1.5 times as many parameters, with a smaller learning rate and gradient clipping.

Known deviations: the paper trains causal language models; this is a bidirectional classifier with a centered shift.
Heads have one channel (the default of the authors' code). The MLP is initialized LeCun-normal; theirs with standard
deviation 0.02, and 0.02 / sqrt(2 layers) in its last map.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{fu2023h3,
  title = {Hungry Hungry Hippos: Towards Language Modeling with State Space Models},
  author = {Fu, Daniel Y. and Dao, Tri and Saab, Khaled K. and Thomas, Armin W. and Rudra, Atri and
            R{\\'e}, Christopher},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "shift_size": 8}

#: Longer sequences start with smaller steps, as in the recipe of Path-X.
LONG = 8_192


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "h3",
            "scaffold": "mlp",
            "d_model": 128,
            "layers": 6,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "layer",
            "paper_padding": "nowhere",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {
            "state_size": 64,
            "bidirectional": True,
            "discretization": "bilinear",
            "dt_max": 0.1,
            "dt_min": 0.0001 if task.max_length > LONG else 0.001,
            "init": "lin",
            "shift_size": 64,
        },
        "scaffold": {"width": 0},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
        },
        "train": {"batch_size": 16, "evaluations": 50},
        "report": {"bibtex": BIBTEX, "title": "H3"},
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 64, "layers": 8, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 50, "published_steps": 80_000},
    },
    "text": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 16, "published_steps": 50_000},
    },
    "retrieval": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 64, "published_steps": 50_000},
    },
    "image": {
        "model": {"d_model": 256, "layers": 6, "dropout": 0.1},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 50, "published_steps": 180_000},
    },
    "pathfinder": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 64, "published_steps": 500_000},
    },
    "pathx": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.0005},
        "train": {"batch_size": 16, "published_steps": 500_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "h3", *sys.argv[1:]]))
