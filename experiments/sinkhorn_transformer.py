"""Sinkhorn Transformer: attention inside blocks, and from each block to a second block selected by a learned sort.

Paper:    Tay et al., "Sparse Sinkhorn Attention", arXiv 2002.11296; on LRA: Tay et al., arXiv 2011.04006.
Run:      python experiments/sinkhorn_transformer.py --task image
          (or: ssm-bench train --model sinkhorn_transformer --task image)
Expected: ListOps 33.67, Text 61.20, Retrieval 53.83, Image 41.23, Pathfinder 67.45, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with other sizes on Image and Pathfinder. Blocks of 50 are the default of the code; the files
of Image and Pathfinder set 64. All tasks pool by the mean, and those with one document have a linear head, since its
encoder has nothing else. There is no file for Path-X, which has the size of the Transformer and, by our choice, blocks
of 128. Eight Sinkhorn iterations are our choice: the code has a softmax by default, and one iteration otherwise.

Known deviations: those of experiments/transformer.py. Blocks are sorted as in the paper. In the authors' code, the
product with the sorting matrix sums over the sorted blocks, so that every block sees the sum of all blocks. A block
contains consecutive positions; in the authors' code, it contains every c-th position of a sequence of c blocks. As in
that code, the sort is a linear map of the sums of keys, the outputs of the two attentions are added, and there is no
Gumbel noise. In the paper, the sort is an MLP of sums of inputs, both attentions share one softmax, and there is Gumbel
noise in training. The map has one output for every block of the longest sequence (authors' code: 25).
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{tay2020sparse,
  title = {Sparse {S}inkhorn Attention},
  author = {Tay, Yi and Bahri, Dara and Yang, Liu and Metzler, Donald and Juan, Da-Cheng},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "block": 8}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "sinkhorn", "pooling": "mean"},
        # Blocks of 50 are the default of lra_benchmarks/models/sinkhorn_transformer.
        "mixer": {"heads": 4, "width": 128, "block": 50, "iterations": 8},
        "report": {
            "title": "Sinkhorn Transformer",
            "bibtex": BIBTEX,
            "published_row": "Sinkhorn Transformer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer with the sizes that lra_benchmarks/*/configs gives for the Sinkhorn Transformer.
RECIPES = merged(
    transformer.RECIPES,
    {
        "listops": {"model": {"pooling": "mean", "head_width": 0}},
        "text": {"model": {"pooling": "mean", "head_width": 0}},
        "retrieval": {"model": {"pooling": "mean"}},
        "image": {  # cifar10/configs/sinkhorn_base.py
            "model": {"d_model": 32, "dropout": 0.1, "head_width": 0, "input_dropout": 0.1, "pooling": "mean"},
            "mixer": {"heads": 1, "width": 32, "block": 64},
            "scaffold": {"width": 64},
            "optimizer": {"weight_decay": 0.7},
        },
        "pathfinder": {  # pathfinder32/configs/sinkhorn_base.py
            "model": {"layers": 2, "head_width": 0},
            "mixer": {"block": 64},
            "scaffold": {"width": 64},
        },
        "pathx": {"model": {"head_width": 0}, "mixer": {"block": 128}},  # ours
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "sinkhorn_transformer", *sys.argv[1:]]))
