"""HGRN: a diagonal complex recurrence with forget gates that are bounded from below, more so in higher layers.

Paper:    Qin et al., "Hierarchically Gated Recurrent Neural Network for Sequence Modeling", arXiv 2311.04823.
Run:      python experiments/hgrn.py --task text          (or: ssm-bench train --model hgrn --task text)
Expected: ListOps 59.95, Text 88.14, Retrieval 94.23, Image 88.69, Pathfinder 92.92, Path-X 97.50 (as quoted in
          arXiv 2411.10741).
Cost:     not measured yet.

The recipes are the files configs/experiment/hgrn-lra-*.yaml of OpenNLPLab/lra@dd871ef: depth, width, norm, dropout,
learning rate, weight decay, warm-up, and a cosine over 50,000 steps, which are taken as the length of the schedule;
and the batches on ListOps, Pathfinder and Path-X. The files leave the other batches open: 32 documents and 50 images
are our choice.

Known deviations: images are read pixel by pixel, forward and backward; the authors scan rows and columns of the image.
Both directions have parameters of their own; theirs share them. The lower bound of each layer is learned by itself,
instead of as a cumulative sum over layers; the initial values are the same. The gated MLP has a GELU and biases; theirs
has a SiLU. There are no position embeddings, and pixels are pooled by their mean. Projections are initialized
LeCun-normal.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{qin2023hierarchically,
  title = {Hierarchically Gated Recurrent Neural Network for Sequence Modeling},
  author = {Qin, Zhen and Yang, Songlin and Zhong, Yiran},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "hgrn",
            "scaffold": "gated_mlp",
            "d_model": 128,
            "layers": 4,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "layer",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {"complex_states": True, "bidirectional": True},
        "scaffold": {"mlp_expand": 2.0},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "schedule": "cosine",
            "warmup": 0.02,
            "weight_decay": 0.05,
            "groups": {"spectrum": "global"},
        },
        "train": {"batch_size": 32, "evaluations": 25},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "HGRN",
            "published_source": "arXiv 2411.10741 (MetaLA) Table 7",
            "title": "HGRN",
        },
    }


#: The files hgrn-lra-*.yaml.
RECIPES = {
    "listops": {
        "model": {"d_model": 128, "layers": 6, "dropout": 0.0, "norm": "layer"},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "warmup": 1_000 / 50_000, "weight_decay": 0.01},
        "train": {"batch_size": 50, "published_steps": 50_000},
    },
    "text": {
        "model": {"d_model": 64, "layers": 4, "dropout": 0.0, "norm": "batch"},
        "optimizer": {"lr": 0.01, "ssm_lr": 0.01, "warmup": 80 / 50_000, "weight_decay": 0.05},
        "train": {"batch_size": 32, "published_steps": 50_000},
    },
    "retrieval": {
        "model": {"d_model": 128, "layers": 4, "dropout": 0.0, "norm": "layer"},
        "optimizer": {"lr": 0.001, "ssm_lr": 0.001, "warmup": 800 / 50_000, "weight_decay": 0.1},
        "train": {"batch_size": 32, "published_steps": 50_000},
    },
    "image": {
        "model": {"d_model": 64, "layers": 4, "dropout": 0.2, "norm": "layer"},
        "optimizer": {"lr": 0.004, "ssm_lr": 0.004, "warmup": 175 / 50_000, "weight_decay": 0.05},
        "train": {"batch_size": 50, "published_steps": 50_000},
    },
    "pathfinder": {
        "model": {"d_model": 128, "layers": 4, "dropout": 0.0, "norm": "batch"},
        "optimizer": {"lr": 0.0002, "ssm_lr": 0.0002, "warmup": 312 / 50_000, "weight_decay": 0.0},
        "train": {"batch_size": 64, "published_steps": 50_000},
    },
    "pathx": {
        "model": {"d_model": 128, "layers": 4, "dropout": 0.0, "norm": "batch"},
        "optimizer": {"lr": 0.0002, "ssm_lr": 0.0002, "warmup": 312 / 50_000, "weight_decay": 0.0},
        "train": {"batch_size": 64, "published_steps": 50_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "hgrn", *sys.argv[1:]]))
