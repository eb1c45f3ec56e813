"""Axial attention: attention along the rows and then along the columns of an image, or of a text as a square.

Paper:    Ho et al., "Axial Attention in Multidimensional Transformers", arXiv 1912.12180.
Run:      python experiments/axial_attention.py --task image
          (or: ssm-bench train --model axial_attention --task image)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA, so the recipes are ours: those of experiments/transformer.py, with another mixer and mean
pooling, since a class token would shift the rows of an image. A row has as many positions as the image is wide; on
other tasks the longest sequence is about square.

Known deviations: those of experiments/transformer.py. A layer attends along rows and then along columns, without a
residual connection or norm between the two. In the paper, these are separate layers.
"""

import math
import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@article{ho2019axial,
  title = {Axial Attention in Multidimensional Transformers},
  author = {Ho, Jonathan and Kalchbrenner, Nal and Weissenborn, Dirk and Salimans, Tim},
  journal = {arXiv preprint arXiv:1912.12180},
  year = {2019},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "block": 8}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer and mean pooling."""
    change = {
        "model": {"mixer": "axial_attention", "pooling": "mean"},
        "mixer": {"heads": 4, "width": 128, "block": math.isqrt(task.max_length)},
        "report": {"title": "Axial attention", "bibtex": BIBTEX, "published_row": "", "published_source": ""},
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Our choices, those of the Transformer.
RECIPES = merged(transformer.RECIPES, {task: {"model": {"pooling": "mean"}} for task in transformer.RECIPES})


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "axial_attention", *sys.argv[1:]]))
