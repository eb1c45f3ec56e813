"""Transformer: softmax attention with sinusoidal or learned positions, the baseline of the Long Range Arena.

Paper:    Vaswani et al., "Attention Is All You Need", arXiv 1706.03762; on LRA: Tay et al., arXiv 2011.04006.
Run:      python experiments/transformer.py --task listops          (or: ssm-bench train --model transformer ...)
Expected: ListOps 36.37, Text 64.27, Retrieval 57.46, Image 42.44, Pathfinder 71.40, Path-X fails (Tay et al.).
Cost:     steps of the whole schedule on one H200, padded to the longest, from the records under results/:
          Text 15 min, ListOps 2 min.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs), which differ
from the paper's appendix. Text, ListOps and Retrieval: the peak learning rate is 0.05 / sqrt(warm-up); Retrieval ends
at step 5,000 inside a warm-up of 8,000 steps, so its peak is the rate reached there.

Known deviations: Retrieval has the four-part head [x1, x2, x1-x2, x1*x2] of all other models here instead of [x1, x2].
Padding is masked, but black pixels are not. There is no dropout on attention weights (authors: 0.1, on Image 0.2),
since fused attention never computes them explicitly. Text uses 4,096 characters; the authors' file has 1,000 bytes. The
head has a GELU; the authors' has a ReLU and, on Retrieval, a second hidden layer of half the width. Dense layers are
initialized LeCun-normal (authors: Xavier-uniform). The class token is initialized normal with standard deviation 0.02
(authors: zero).
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{vaswani2017attention,
  title = {Attention Is All You Need},
  author = {Vaswani, Ashish and Shazeer, Noam and Parmar, Niki and Uszkoreit, Jakob and Jones, Llion and
            Gomez, Aidan N. and Kaiser, {\\L}ukasz and Polosukhin, Illia},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "attention",
            "scaffold": "mlp",
            "d_model": 128,
            "layers": 4,
            "dropout": 0.1,
            # Gray levels are token ids, as in the authors' code.
            "encoder": "embedding",
            "final_norm": True,
            "head_width": 512,
            "input_dropout": 0.1,
            "norm": "layer",
            "paper_padding": "nowhere",
            "pooling": "cls",
            "positions": "sinusoidal",
            "prenorm": True,
            "tie_dropout": False,
        },
        "mixer": {"heads": 4, "width": 128, "bidirectional": True},
        "scaffold": {"width": 512},
        "optimizer": {
            "lr": 0.0005,
            "ssm_lr": 0.0005,
            "b2": 0.98,
            "clip_norm": 0.0,
            "epsilon": 1e-09,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.1,
            # The authors' Adam decays every parameter.
            "groups": {"exempt": "global+decay"},
        },
        "train": {"batch_size": 32, "evaluations": 20},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "Transformer",
            "published_source": "arXiv 2403.16899 Table II",
            "title": "Transformer",
        },
    }


#: The files of lra_benchmarks/*/configs, base and transformer.
RECIPES = {
    "listops": {  # lra_benchmarks/listops
        "model": {"d_model": 512, "layers": 4, "dropout": 0.1, "head_width": 1024, "input_dropout": 0.1},
        "mixer": {"heads": 8, "width": 512},
        "scaffold": {"width": 1024},
        "optimizer": {
            "lr": 0.00158,
            "ssm_lr": 0.00158,
            "schedule": "rsqrt",
            "warmup": 1_000 / 5_000,
            "weight_decay": 0.1,
        },
        "train": {"batch_size": 32, "published_steps": 5_000},
    },
    "text": {  # lra_benchmarks/text_classification
        "model": {"d_model": 256, "layers": 4, "dropout": 0.1, "head_width": 1024, "input_dropout": 0.1},
        "mixer": {"heads": 4, "width": 256},
        "scaffold": {"width": 1024},
        "optimizer": {
            "lr": 0.000559,
            "ssm_lr": 0.000559,
            "schedule": "rsqrt",
            "warmup": 8_000 / 20_000,
            "weight_decay": 0.1,
        },
        "train": {"batch_size": 32, "published_steps": 20_000},
    },
    "retrieval": {  # lra_benchmarks/matching
        "model": {"d_model": 128, "layers": 4, "dropout": 0.1, "head_width": 512, "input_dropout": 0.1},
        "mixer": {"heads": 4, "width": 128},
        "scaffold": {"width": 512},
        "optimizer": {"lr": 0.000349, "ssm_lr": 0.000349, "schedule": "rsqrt", "warmup": 1.0, "weight_decay": 0.1},
        "train": {"batch_size": 32, "published_steps": 5_000},
    },
    "image": {  # lra_benchmarks/cifar10
        "model": {
            "d_model": 128,
            "layers": 1,
            "dropout": 0.3,
            "head_width": 128,
            "input_dropout": 0.3,
            "positions": "learned",
        },
        "mixer": {"heads": 8, "width": 64},
        "scaffold": {"width": 128},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.0005, "warmup": 175 / 35_000, "weight_decay": 0.0},
        "train": {"batch_size": 256, "published_steps": 35_000},
    },
    "pathfinder": {  # lra_benchmarks/pathfinder32
        "model": {
            "d_model": 32,
            "layers": 4,
            "dropout": 0.2,
            "head_width": 32,
            "input_dropout": 0.2,
            "pooling": "mean",
        },
        "mixer": {"heads": 4, "width": 16},
        "scaffold": {"width": 32},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "warmup": 312 / 62_400, "weight_decay": 0.0},
        "train": {"batch_size": 512, "published_steps": 62_400},
    },
    "pathx": {  # lra_benchmarks/pathfinder128
        "model": {
            "d_model": 32,
            "layers": 1,
            "dropout": 0.1,
            "head_width": 32,
            "input_dropout": 0.1,
            "pooling": "mean",
            "positions": "learned",
        },
        "mixer": {"heads": 2, "width": 16},
        "scaffold": {"width": 32},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "clip_norm": 1.0, "warmup": 2_500 / 500_000, "weight_decay": 0.0},
        "train": {"batch_size": 64, "published_steps": 500_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "transformer", *sys.argv[1:]]))
