"""Sparse Transformer: attention to a block and to a few positions of all blocks, or to a window and a stride.

Paper:    Child et al., "Generating Long Sequences with Sparse Transformers", arXiv 1904.10509; on LRA: Tay et al.,
          arXiv 2011.04006.
Run:      python experiments/sparse_transformer.py --task image
          (or: ssm-bench train --model sparse_transformer --task image)
Expected: ListOps 17.07, Text 63.58, Retrieval 59.59, Image 44.24, Pathfinder 71.71, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with another size on Pathfinder. The code uses the fixed pattern with blocks of 50 and
summaries of 10 in every head, and lets the class token see all and be seen by all. There is no file for Path-X, which
has the size of the Transformer and, by our choice, blocks of 128 with summaries of 8: 50 and 10 would need 28 GB for
the scores of one batch.

Known deviations: those of experiments/transformer.py. Attention is bidirectional; in the authors' code, all positions
except the class token attend only to earlier ones. In their mask, all positions also attend to the first position of
every block. Blocks start at the class token; in the authors' code, at the first position after it. The authors' code
computes all scores and masks them.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@article{child2019generating,
  title = {Generating Long Sequences with Sparse {T}ransformers},
  author = {Child, Rewon and Gray, Scott and Radford, Alec and Sutskever, Ilya},
  journal = {arXiv preprint arXiv:1904.10509},
  year = {2019},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "block": 4, "summary": 1}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "sparse_attention"},
        # Those of lra_benchmarks/utils/train_utils.py; the global position is the class token.
        "mixer": {
            "heads": 4,
            "width": 128,
            "pattern": "fixed",
            "block": 50,
            "summary": 10,
            "global_positions": 1,
        },
        "report": {
            "title": "Sparse Transformer",
            "bibtex": BIBTEX,
            "published_row": "Sparse Transformer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer with the sizes that lra_benchmarks/*/configs gives for the Sparse Transformer.
RECIPES = merged(
    transformer.RECIPES,
    {
        "pathfinder": {  # pathfinder32/configs/sparse_transformer_base.py
            "model": {"layers": 1},
            "mixer": {"heads": 8, "global_positions": 0},
        },
        "pathx": {"mixer": {"block": 128, "summary": 8, "global_positions": 0}},  # ours
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "sparse_transformer", *sys.argv[1:]]))
