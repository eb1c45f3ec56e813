"""LongConv: convolutions with a free parameter for each tap, squashed towards zero.

Paper:    Fu et al., "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", arXiv 2302.06646.
Run:      python experiments/long_conv.py --task listops          (or: ssm-bench train --model long_conv ...)
Expected: the paper's table was not at hand: no published row stands next to ours.
Cost:     not measured yet.

The recipes are the files of HazyResearch/safari@02220c6 (configs/experiment/lra/long-conv-lra-*.yaml) on top of
configs/model/long-conv.yaml. Kernels have a rate of their own and no weight decay. Only Pathfinder and Path-X are
bidirectional, as in the files. Warm-up of ListOps, Text, Retrieval, Pathfinder and Path-X is that of the file; Image
takes the 1,000 steps of the scheduler's default. Evaluations: one for each epoch.

Known deviations: one kernel a channel; theirs have two (`channels: 2`), joined by the gated linear map after them. The
threshold squashes the same way in training and evaluation, as theirs. Post-norm models have no final norm. Settings
that their files leave to the pipeline (embedding, padding) are those of experiments/s4.py, whose pipeline it is.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import s4

BIBTEX = """@inproceedings{fu2023simple,
  title = {Simple Hardware-Efficient Long Convolutions for Sequence Modeling},
  author = {Fu, Daniel Y. and Epstein, Elliot L. and Nguyen, Eric and Thomas, Armin W. and Zhang, Michael and Dao, Tri
            and Rudra, Atri and R{\\'e}, Christopher},
  booktitle = {International Conference on Machine Learning},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {"threshold": 0.001}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    change = {
        "model": {"mixer": "long_conv"},
        # A kernel is read as an output matrix of past inputs.
        "optimizer": {"groups": {"output_matrix": "ssm"}},
        "report": {"title": "LongConv", "bibtex": BIBTEX, "published_row": "", "published_source": ""},
    }
    mixer = {"threshold": 0.003, "kernel_dropout": 0.2, "bidirectional": False}
    return merged(s4.defaults(task), change) | {"mixer": mixer}


#: The files of configs/experiment/lra.
RECIPES = {
    "listops": {  # long-conv-lra-listops.yaml
        "model": {"d_model": 128, "layers": 8, "dropout": 0.0, "final_norm": False, "prenorm": False},
        "mixer": {"threshold": 0.002, "kernel_dropout": 0.2},
        "optimizer": {"lr": 0.01, "ssm_lr": 0.0005, "warmup": 10_000 / 80_000, "weight_decay": 0.05},
        "train": {"batch_size": 50, "published_steps": 80_000, "evaluations": 40},
    },
    "text": {  # long-conv-lra-imdb.yaml
        "model": {"d_model": 256, "layers": 6, "dropout": 0.0},
        "mixer": {"threshold": 0.003, "kernel_dropout": 0.2},
        "optimizer": {"lr": 0.01, "ssm_lr": 0.001, "warmup": 5_000 / 50_000, "weight_decay": 0.05},
        "train": {"batch_size": 16, "published_steps": 50_000, "evaluations": 32},
    },
    "retrieval": {  # long-conv-lra-aan.yaml
        "model": {"d_model": 256, "layers": 6, "dropout": 0.0},
        "mixer": {"threshold": 0.004, "kernel_dropout": 0.1},
        "optimizer": {"lr": 0.01, "ssm_lr": 0.0001, "warmup": 2_500 / 50_000, "weight_decay": 0.05},
        "train": {"batch_size": 64, "published_steps": 50_000, "evaluations": 20},
    },
    "image": {  # long-conv-lra-cifar.yaml
        "model": {"d_model": 512, "layers": 6, "dropout": 0.1, "final_norm": False, "norm": "layer", "prenorm": False},
        "mixer": {"threshold": 0.003, "kernel_dropout": 0.2},
        "optimizer": {"lr": 0.01, "ssm_lr": 0.001, "warmup": 1_000 / 200_000, "weight_decay": 0.05},
        "train": {"batch_size": 50, "published_steps": 200_000, "evaluations": 200},
    },
    "pathfinder": {  # long-conv-lra-pathfinder.yaml
        "model": {"d_model": 256, "layers": 6, "dropout": 0.0, "pooling": "last"},
        "mixer": {"threshold": 0.001, "kernel_dropout": 0.3, "bidirectional": True},
        "optimizer": {"lr": 0.004, "ssm_lr": 0.001, "warmup": 2_500 / 500_000, "weight_decay": 0.03},
        "train": {"batch_size": 64, "published_steps": 500_000, "evaluations": 200},
    },
    "pathx": {  # long-conv-lra-pathx.yaml
        "model": {"d_model": 256, "layers": 6, "dropout": 0.0},
        "mixer": {"threshold": 0.001, "kernel_dropout": 0.3, "bidirectional": True},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.0005, "warmup": 10_000 / 500_000, "weight_decay": 0.05},
        "train": {"batch_size": 16, "published_steps": 500_000, "evaluations": 50},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "long_conv", *sys.argv[1:]]))
