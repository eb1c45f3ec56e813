"""GRU: the gated recurrent unit, a nonlinear baseline.

Paper:    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
          arXiv 1406.1078.
Run:      python experiments/gru.py --task text          (or: ssm-bench train --model gru --task text)
Expected: no published numbers on these tasks.
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 57 min.
          The recurrence is sequential in time.

The recipes are ours: widths, batches, dropout and weight decay of the LRU (arXiv 2303.06349, Table 9), with a third of
its layers and fewer steps, because the recurrence is slow. The small learning rate, gradient clipping and the single
direction are common choices for recurrent networks.

Known deviations: the paper has neither residual blocks nor these tasks. The reset gate is applied after the matrix
product, as in cuDNN.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{cho2014gru,
  title = {Learning Phrase Representations using {RNN} Encoder-Decoder for Statistical Machine Translation},
  author = {Cho, Kyunghyun and van Merri{\\"e}nboer, Bart and Gulcehre, Caglar and Bahdanau, Dzmitry and
            Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua},
  booktitle = {Empirical Methods in Natural Language Processing},
  year = {2014},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 0}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "gru",
            "scaffold": "glu",
            "d_model": 128,
            "layers": 2,
            "dropout": 0.1,
            "embedding_std": 128**-0.5,
            "final_norm": True,
            "norm": "layer",
            "paper_padding": "nowhere",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {"state_size": 0, "bidirectional": False},
        "scaffold": {"activation": "glu"},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
        },
        "train": {"batch_size": 32, "evaluations": 50},
        "report": {"bibtex": BIBTEX, "title": "GRU"},
    }


#: Our choices, see above.
RECIPES = {
    "listops": {
        "model": {"d_model": 128, "dropout": 0.0, "embedding_std": 128**-0.5},
        "train": {"batch_size": 32, "published_steps": 40_000},
    },
    "text": {
        "model": {"d_model": 256, "dropout": 0.1, "embedding_std": 256**-0.5},
        "train": {"batch_size": 32, "published_steps": 25_000},
    },
    "retrieval": {
        "model": {"d_model": 128, "dropout": 0.1, "embedding_std": 128**-0.5},
        "train": {"batch_size": 64, "published_steps": 50_000},
    },
    "image": {
        "model": {"d_model": 512, "dropout": 0.1, "embedding_std": 512**-0.5},
        "train": {"batch_size": 50, "published_steps": 90_000},
    },
    "pathfinder": {
        "model": {"d_model": 192, "dropout": 0.0, "embedding_std": 192**-0.5},
        "train": {"batch_size": 64, "published_steps": 125_000},
    },
    "pathx": {
        "model": {"d_model": 128, "dropout": 0.0, "embedding_std": 128**-0.5},
        "train": {"batch_size": 32, "published_steps": 62_500},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "gru", *sys.argv[1:]]))
