"""Rotary Transformer: softmax attention with rotary positions, trained longer and without dropout, from scratch.

Paper:    Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", arXiv 2104.09864; on LRA: Amos,
          Berant, Gupta, "Never Train from Scratch", arXiv 2310.02980.
Run:      python experiments/rotary_transformer.py --task image
          (or: ssm-bench train --model rotary_transformer --task image)
Expected: ListOps 47.90, Text 79.08, Retrieval 82.31, Image 75.04, Pathfinder 76.64, Path-X 84.72 (Amos et al., trained
          from scratch).
Cost:     not measured yet.

The recipes are the files configs/experiment/lra/transformer-lra-*.yaml of IdoAmos/not-from-scratch@f919137, which serve
fine-tuning and training from scratch: sizes, batches, epochs, weight decay, and a constant learning rate after the
warm-up. Rotary positions turn whole heads, as in that code; the files switch them off, the row of the paper has them.
The files of ListOps, Text and Retrieval say 0.05 for the learning rate, which is no rate of AdamW; here it is that of
Pathfinder, 0.0005 (our choice). On Path-X attention is local: blocks of 4,096 and their neighbors there, the nearest
4,095 positions to each side here.

Known deviations: projections have no biases. Path-X pools by the mean (source: the maximum). The head of Text and Image
has a GELU (source: ReLU). Dense layers are initialized LeCun-normal (source: PyTorch's default, uniform). Padding is
masked in attention (source: it is not).
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{amos2024never,
  title = {Never Train from Scratch: Fair Comparison of Long-Sequence Models Requires Data-Driven Priors},
  author = {Amos, Ido and Berant, Jonathan and Gupta, Ankit},
  booktitle = {International Conference on Learning Representations},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "attention",
            "scaffold": "mlp",
            "d_model": 128,
            "layers": 4,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "layer",
            "paper_padding": "everywhere",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {"heads": 4, "rotary": True, "whole_heads": True, "bidirectional": True},
        "scaffold": {"width": 512},
        "optimizer": {
            "lr": 0.0005,
            "ssm_lr": 0.0005,
            "clip_norm": 0.0,
            "schedule": "constant",
            "warmup": 0.01,
            "weight_decay": 0.0,
            # PyTorch's AdamW decays every parameter.
            "groups": {"exempt": "global+decay"},
        },
        "train": {"batch_size": 32, "evaluations": 20},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "Transformer + rotary, from scratch (Never Train from Scratch)",
            "published_source": "Amos et al., arXiv 2310.02980, "
            "as quoted in fluderm/MLRA@ea30f9e, Mamba_report.pdf Table 1",
            "title": "Rotary Transformer",
        },
    }


#: The files transformer-lra-*.yaml; the learning rate of the first three is ours.
RECIPES = {
    "listops": {  # 100 epochs
        "model": {"d_model": 512, "layers": 6},
        "mixer": {"heads": 8},
        "scaffold": {"width": 2_048},
        "optimizer": {"warmup": 2_000 / 300_000},
        "train": {"published_steps": 300_000},
    },
    "text": {  # 65 epochs
        "model": {"d_model": 512, "layers": 6, "head_width": 512},
        "mixer": {"heads": 8},
        "scaffold": {"width": 2_048},
        "optimizer": {"warmup": 2_000 / 50_765, "weight_decay": 0.1},
        "train": {"published_steps": 50_765},
    },
    "retrieval": {  # 32 epochs
        "optimizer": {"warmup": 5_000 / 147_072},
        "train": {"published_steps": 147_072},
    },
    "image": {  # 200 epochs
        "model": {"d_model": 64, "layers": 3, "head_width": 64},
        "scaffold": {"width": 128},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "warmup": 2_000 / 180_000},
        "train": {"batch_size": 50, "published_steps": 180_000},
    },
    "pathfinder": {  # 200 epochs
        "mixer": {"heads": 8},
        "scaffold": {"width": 128},
        "optimizer": {"warmup": 5_000 / 1_000_000},
        "train": {"published_steps": 1_000_000},
    },
    "pathx": {  # 200 epochs
        "mixer": {"window": 4_096},
        "scaffold": {"width": 128},
        "optimizer": {"warmup": 5_000 / 1_000_000},
        "train": {"published_steps": 1_000_000},
    },
}

#: Pretraining on the inputs of a task (docs/training.md): the files transformer-lra-*-mlm.yaml of the same code; shares
#: of hidden positions from the paper. The learning rate is that of the recipe. No published row has these positions.
PRETRAINING = {
    "listops": {  # 100 epochs
        "optimizer": {"warmup": 2_000 / 300_000},
        "train": {"published_steps": 300_000},
        "pretraining": {"mask_rate": 0.1},
    },
    "text": {  # 32 epochs
        "optimizer": {"warmup": 5_000 / 24_992},
        "train": {"published_steps": 24_992},
        "pretraining": {"mask_rate": 0.15},
    },
    "retrieval": {  # 32 epochs
        "optimizer": {"warmup": 2_000 / 147_072},
        "train": {"published_steps": 147_072},
        "pretraining": {"mask_rate": 0.15},
    },
    "image": {  # 50 epochs
        "optimizer": {"warmup": 2_500 / 70_300},
        "train": {"batch_size": 32, "published_steps": 70_300},
        "pretraining": {"mask_rate": 0.5},
    },
    "pathfinder": {  # 50 epochs
        "optimizer": {"warmup": 2_500 / 250_000},
        "train": {"published_steps": 250_000},
        "pretraining": {"mask_rate": 0.5},
    },
    "pathx": {  # 200 epochs
        "optimizer": {"warmup": 5_000 / 1_000_000},
        "train": {"published_steps": 1_000_000},
        "pretraining": {"mask_rate": 0.5},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "rotary_transformer", *sys.argv[1:]]))
