"""S6 (Mamba): a selective state space model, as run for the table of the control-theoretic overview.

Paper:    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752; the table:
          Alonso, Sieber, Zeilinger, "State Space Models as Foundation Models", arXiv 2403.16899.
Run:      python experiments/s6.py --task text          (or: ssm-bench train --model s6 --task text)
Expected: ListOps 38.02, Text 82.98, Retrieval 72.14, Image 69.82, Pathfinder 69.26, Path-X 67.32 (Table II there).
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 80 min.

The recipes are the configurations of jsie7/ssm-benchmark (ListOps, Pathfinder and Path-X @3c4337f, the others
@07af385); which version produced the table is not stated. As there, the model is causal, each token id enters as one
number, there is no warm-up, and one learning rate and weight decay apply to all parameters, A and D included. For a
stronger recipe see s6_tuned.

Known deviations from the source, all required by the strict protocol or the common backbone:
- Model selection uses a validation split (source: the test set, evaluated every epoch).
- Padding does not affect any output, and pooling is the mean over unpadded positions (source: over padding as well).
- The loss is the cross-entropy of the logits (source: of softmax outputs used as logits).
- Retrieval has the four-part head of all models here (source: two outputs of two numbers each are combined).
- The cosine advances by step (source: by epoch).
- Projections are initialized LeCun-normal, and the last projection of each block is divided by the square root of the
  number of blocks (source: PyTorch's default, uniform).
"""

import sys

from ssm_bench.data import TaskSpec
from ssm_bench.experiments import mamba

#: Options of the mixer at toy size.
TINY = {"state_size": 4, "dt_rank": 2}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "s6",
            "scaffold": "mamba",
            "d_model": 128,
            "layers": 6,
            "dropout": 0.0,
            "encoder": "linear",
            # With a zero bias every token id would have the same direction after the first norm.
            "encoder_init": "uniform",
            "norm": "layer",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {"state_size": 64, "bidirectional": False, "dt_max": 0.1, "dt_min": 0.001, "dt_rank": 8},
        "scaffold": {"expand": 2.0, "glu": True, "taps": 4},
        "optimizer": {
            "lr": 0.0001,
            "ssm_lr": 0.0001,
            "end_lr": 5e-06,
            "schedule": "cosine",
            "warmup": 0.0,
            "weight_decay": 0.01,
            "groups": {
                "exempt": "global+decay",
                "input_matrix": "global+decay",
                "spectrum": "global+decay",
                "step_size": "global+decay",
            },
        },
        "train": {"batch_size": 64},
        "report": {
            "bibtex": mamba.BIBTEX,
            "published_row": "S6 (Mamba)",
            "published_source": "arXiv 2403.16899 Table II",
            "title": "S6",
        },
    }


RECIPES = {
    "listops": {  # ssm-benchmark@3c4337f listops-mamba.yaml
        "model": {"d_model": 64, "layers": 10, "prenorm": False},
        "mixer": {"dt_rank": 4},
        "scaffold": {"expand": 3.0},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001},
        "train": {"batch_size": 64, "published_steps": 75_000, "evaluations": 50},
    },
    "text": {  # ssm-benchmark@07af385 imdb-mamba.yaml
        "model": {"d_model": 64, "layers": 6},
        "mixer": {"dt_rank": 4},
        "scaffold": {"expand": 2.5},
        "optimizer": {"lr": 0.0005, "ssm_lr": 0.0005},
        "train": {"batch_size": 32, "published_steps": 78_200, "evaluations": 100},
    },
    "retrieval": {  # ssm-benchmark@07af385 aan-mamba.yaml
        "model": {"d_model": 256, "layers": 6},
        "mixer": {"dt_rank": 16},
        "scaffold": {"expand": 1.5},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001},
        "train": {"batch_size": 16, "published_steps": 275_790, "evaluations": 30},
    },
    "image": {  # ssm-benchmark@07af385 cifar-10-mamba.yaml
        "model": {"d_model": 256, "layers": 6, "prenorm": False},
        "mixer": {"dt_rank": 16},
        "optimizer": {"lr": 0.0002, "ssm_lr": 0.0002},
        "train": {"batch_size": 64, "published_steps": 21_120, "evaluations": 30},
    },
    "pathfinder": {  # ssm-benchmark@3c4337f pathfinder-mamba.yaml
        "model": {"d_model": 128, "layers": 6},
        "scaffold": {"expand": 4.0},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001},
        "train": {"batch_size": 32, "published_steps": 500_000, "evaluations": 100},
    },
    "pathx": {  # ssm-benchmark@3c4337f path-x.yaml
        "model": {"d_model": 128, "layers": 6},
        "optimizer": {"lr": 0.0001, "ssm_lr": 0.0001},
        "train": {"batch_size": 64, "published_steps": 125_000, "evaluations": 50},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "s6", *sys.argv[1:]]))
