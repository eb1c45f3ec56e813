"""Luna: nested attention in two steps, through a second sequence of 256 learned vectors, at a linear cost.

Paper:    Ma et al., "Luna: Linear Unified Nested Attention", arXiv 2106.01540.
Run:      python experiments/luna.py --task listops          (or: ssm-bench train --model luna --task listops)
Expected: Luna-256: ListOps 37.25, Text 64.57, Retrieval 79.29, Image 47.38, Pathfinder 77.72, Path-X fails (quoted by
          Gu et al., arXiv 2111.00396, Table 4). The authors' later table (arXiv 2209.10655, Table 2) has 37.98, 65.78,
          79.56, 47.86 and 78.55.
Cost:     not measured yet.

The recipes are the commands of XuezheMax/fairseq-apollo@3644d20 (examples/luna/README.lra.md) with the sizes and the
defaults of fairseq/models/lra/model.py. The commands set 16 vectors and mention 128 or 256; here there are the 256 of
the published row. ListOps has one layer, as its command says; the default of the code is six layers with shared
weights. For Path-X the code has a size, that of Pathfinder, but no command: batch and steps are those of LRA's
Transformer, the rest is that of Pathfinder (our choice). As in their commands, pixels are read as tokens.

Known deviations from the authors' code: the 256 extra vectors pass through the MLP like all positions and share its
norms. In the authors' code, they skip the MLP, have separate norms, and are added to sinusoidal positions. There is no
norm of the embeddings before the first layer. Embeddings are scaled at initialization; the authors multiply them by a
factor. There is dropout on hidden units of the MLP, but not on attention weights (authors: 0.1, on Text 0.3) or before
the head. Projections of queries, keys and values are initialized with the authors' variance, other dense layers
LeCun-normal; on ListOps and Text, the authors initialize all of these with a standard deviation of 0.02. The authors'
head has no bias. On Retrieval, our head has the hidden layer that the authors' code has for later models. The authors
train in half precision.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{ma2021luna,
  title = {Luna: Linear Unified Nested Attention},
  author = {Ma, Xuezhe and Kong, Xiang and Wang, Sinong and Zhou, Chunting and May, Jonathan and Ma, Hao and
            Zettlemoyer, Luke},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "luna",
            "scaffold": "mlp",
            "d_model": 128,
            "layers": 4,
            "context": 256,
            "dropout": 0.1,
            "embedding_std": 1.0,
            "encoder": "embedding",
            "input_dropout": 0.1,
            "norm": "layer",
            "paper_padding": "nowhere",
            "pooling": "cls",
            "positions": "sinusoidal",
            "prenorm": False,
            "tie_dropout": False,
        },
        "mixer": {"heads": 4},
        "scaffold": {"width": 512},
        "optimizer": {
            "lr": 0.0005,
            "ssm_lr": 0.0005,
            "b2": 0.98,
            "schedule": "rsqrt",
            "warmup": 0.1,
            "weight_decay": 0.0001,
            "groups": {"exempt": "global+decay"},
        },
        "train": {"batch_size": 32, "evaluations": 20},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "Luna-256",
            "published_source": "Gu et al., arXiv 2111.00396, Table 4",
            "title": "Luna",
        },
    }


#: The commands of examples/luna/README.lra.md.
RECIPES = {
    "listops": {  # README.lra.md
        "model": {"d_model": 512, "layers": 1, "dropout": 0.1, "embedding_std": 0.02 * 512**0.5, "input_dropout": 0.1},
        "mixer": {"heads": 8},
        "scaffold": {"width": 2048},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001, "warmup": 1_000 / 5_000, "weight_decay": 0.0001},
        "train": {"batch_size": 32, "published_steps": 5_000},
    },
    "text": {  # README.lra.md
        "model": {"d_model": 256, "layers": 4, "dropout": 0.3, "embedding_std": 0.02 * 256**0.5, "input_dropout": 0.3},
        "mixer": {"heads": 4},
        "scaffold": {"width": 1024},
        "optimizer": {"lr": 5e-05, "ssm_lr": 5e-05, "warmup": 8_000 / 20_000, "weight_decay": 0.0001},
        "train": {"batch_size": 32, "published_steps": 20_000},
    },
    "retrieval": {  # README.lra.md
        "model": {"d_model": 128, "layers": 4, "dropout": 0.1, "embedding_std": 1.0, "input_dropout": 0.1},
        "mixer": {"heads": 4},
        "scaffold": {"width": 512},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.0005, "warmup": 8_000 / 20_000, "weight_decay": 0.0001},
        "train": {"batch_size": 32, "published_steps": 20_000},
    },
    "image": {  # README.lra.md
        "model": {"d_model": 64, "layers": 1, "dropout": 0.3, "embedding_std": 1.0, "input_dropout": 0.3},
        "mixer": {"heads": 8},
        "scaffold": {"width": 128},
        "optimizer": {"lr": 0.005, "ssm_lr": 0.005, "warmup": 4_000 / 35_000, "weight_decay": 0.0},
        "train": {"batch_size": 256, "published_steps": 35_000},
    },
    "pathfinder": {  # README.lra.md
        "model": {
            "d_model": 128,
            "layers": 1,
            "dropout": 0.2,
            "embedding_std": 1.0,
            "input_dropout": 0.2,
            "pooling": "mean",
        },
        "mixer": {"heads": 4},
        "scaffold": {"width": 128},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "warmup": 4_000 / 62_500, "weight_decay": 0.0},
        "train": {"batch_size": 512, "published_steps": 62_500},
    },
    "pathx": {  # the size of Pathfinder; batch and steps: lra_benchmarks/pathfinder128
        "model": {
            "d_model": 128,
            "layers": 1,
            "dropout": 0.2,
            "embedding_std": 1.0,
            "input_dropout": 0.2,
            "pooling": "mean",
        },
        "mixer": {"heads": 4},
        "scaffold": {"width": 128},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "warmup": 4_000 / 500_000, "weight_decay": 0.0},
        "train": {"batch_size": 64, "published_steps": 500_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "luna", *sys.argv[1:]]))
