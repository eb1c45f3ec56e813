"""Longformer: attention to a window, and to and from the class token.

Paper:    Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", arXiv 2004.05150; on LRA: Tay et al.,
          arXiv 2011.04006.
Run:      python experiments/longformer.py --task text          (or: ssm-bench train --model longformer --task text)
Expected: ListOps 35.63, Text 62.85, Retrieval 56.89, Image 42.22, Pathfinder 69.71, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with other sizes on Image and Pathfinder. The window of 512 positions is the default of the
code: 255 before a position and 256 after it there, 255 to each side here. There is no file for Path-X, which has the
size of the Transformer.

Known deviations: those of experiments/transformer.py. On tasks with a class token (ListOps, Text, Retrieval), the token
is a global position, as for classification in the paper. No configuration of the benchmark's authors has global
positions, although their code creates projections for them. Their code computes all scores and masks them.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@article{beltagy2020longformer,
  title = {Longformer: The Long-Document {T}ransformer},
  author = {Beltagy, Iz and Peters, Matthew E. and Cohan, Arman},
  journal = {arXiv preprint arXiv:2004.05150},
  year = {2020},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "window": 5}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "longformer"},
        # The window of lra_benchmarks/models/longformer; the global position is the class token.
        "mixer": {"heads": 4, "width": 128, "window": 256, "global_positions": 1},
        "report": {
            "title": "Longformer",
            "bibtex": BIBTEX,
            "published_row": "Longformer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer with the sizes that lra_benchmarks/*/configs gives for the Longformer.
RECIPES = merged(
    transformer.RECIPES,
    {
        "image": {  # cifar10/configs/longformer_base.py
            "model": {"layers": 4, "pooling": "mean"},
            "mixer": {"heads": 4, "global_positions": 0},
        },
        "pathfinder": {  # pathfinder32/configs/longformer_base.py
            "model": {"layers": 2, "dropout": 0.1, "input_dropout": 0.1},
            "mixer": {"heads": 2, "global_positions": 0},
        },
        "pathx": {"mixer": {"global_positions": 0}},  # ours
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "longformer", *sys.argv[1:]]))
