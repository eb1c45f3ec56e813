"""Griffin: blocks of Hawk, with local attention in every third block.

Paper:    De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
          arXiv 2402.19427.
Run:      python experiments/griffin.py --task text          (or: ssm-bench train --model griffin --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA. The blocks are the paper's: RMS norms, block-diagonal gates, a recurrent width of 4/3, a
gated MLP of width 3, multi-query attention in heads of 128 channels over a window of 1024 positions, causal, a final
norm. Our choices: depth and width (1.3 million parameters, 5.1 on Image); batch and steps, taken from the LRU (arXiv
2303.06349, Table 9); learning rate, warm-up, weight decay, dropout, and mean pooling over true positions.

Known deviations: the gates have 8 blocks; the paper's wider models have more. Token embeddings are not scaled. The
short convolution is initialized uniformly in +-1/2. On Image and Pathfinder the window covers the whole sequence.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import hawk

#: Options of the mixer at toy size.
TINY = {"blocks": 2}

#: Blocks at toy size: the third is the first with attention.
TINY_LAYERS = 3


def defaults(task: TaskSpec) -> dict:
    """The settings of Hawk with attention in every third block."""
    change = {
        "model": {"scaffold": "griffin"},
        "scaffold": {"heads": 1, "window": 1024},
        "report": {"title": "Griffin"},
    }
    return merged(hawk.defaults(task), change)


#: Those of Hawk; Image is twice as wide and has two heads of attention.
RECIPES = merged(hawk.RECIPES, {"image": {"scaffold": {"heads": 2}}})


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "griffin", *sys.argv[1:]]))
