"""Hawk: the RG-LRU in the block that it was published with.

Paper:    De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
          arXiv 2402.19427.
Run:      python experiments/hawk.py --task text          (or: ssm-bench train --model hawk --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA. The block is the paper's: RMS norms, block-diagonal gates, a recurrent width of 4/3, a gated
MLP of width 3, causal, a final norm. Our choices: depth and width (1.3 million parameters, 5.3 on Image); batch and
steps, taken from the LRU (arXiv 2303.06349, Table 9); learning rate, warm-up, weight decay, dropout, and mean pooling
over true positions.

Known deviations: the gates have 8 blocks; the paper's wider models have more. Token embeddings are not scaled. The
short convolution is initialized uniformly in +-1/2.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@misc{de2024griffin,
  title = {Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models},
  author = {De, Soham and Smith, Samuel L. and Fernando, Anushan and Botev, Aleksandar and Cristian-Muraru, George and
            Gu, Albert and Haroun, Ruba and Berrada, Leonard and Chen, Yutian and Srinivasan, Srivatsan and
            Desjardins, Guillaume and Doucet, Arnaud and Budden, David and Teh, Yee Whye and Pascanu, Razvan and
            De Freitas, Nando and Gulcehre, Caglar},
  year = {2024},
  eprint = {2402.19427},
  archiveprefix = {arXiv},
}"""

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
        "mixer": {"bidirectional": False, "blocks": 8, "init": "griffin", "r_max": 0.999, "r_min": 0.9},
        "scaffold": {"expand": 4 / 3, "mlp_expand": 3.0, "taps": 4},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
        },
        "train": {"batch_size": 32, "evaluations": 50},
        "report": {"bibtex": BIBTEX, "title": "Hawk"},
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 128, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 32, "published_steps": 80_000},
    },
    "text": {
        "model": {"d_model": 128, "dropout": 0.1},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 32, "published_steps": 50_000},
    },
    "retrieval": {
        "model": {"d_model": 128, "dropout": 0.1},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 64, "published_steps": 100_000},
    },
    "image": {
        "model": {"d_model": 256, "dropout": 0.1},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 50, "published_steps": 180_000},
    },
    "pathfinder": {
        "model": {"d_model": 128, "dropout": 0.0},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001},
        "train": {"batch_size": 64, "published_steps": 500_000},
    },
    "pathx": {
        "model": {"d_model": 128, "dropout": 0.0},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.0005},
        "train": {"batch_size": 32, "published_steps": 250_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "hawk", *sys.argv[1:]]))
