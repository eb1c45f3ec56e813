"""Griffin: two blocks of Hawk, then one with local attention, and again.

Paper:    De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
          arXiv 2402.19427.
Run:      python experiments/griffin.py --task text          (or: ssm-bench train --model griffin --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper has no LRA. The blocks are the paper's: RMS norms, gates in blocks, a recurrent width of 4/3, a gated MLP of
width 3, multi-query attention in heads of 128 channels over a window of 1024 positions, causal, a last norm. Ours:
depth and width (1.3 million parameters, 5.1 on Image); batch and steps, those of the LRU (arXiv 2303.06349, Table 9);
learning rate, warm-up, weight decay, dropout, and the mean over true positions. Known deviations: gates have 8 blocks,
where the paper's wider models have more; the token table is not scaled; the short convolution starts uniform in +-1/2;
on Image and Pathfinder the window is the whole sequence.
"""

import sys

from ssm_bench.config import experiment

#: Options of the mixer at toy size.
TINY = {"blocks": 2}

#: Blocks at toy size: the third is the first with attention.
TINY_LAYERS = 3

#: Heads of the attention.
RECIPES = {"listops": 1, "text": 1, "retrieval": 1, "image": 2, "pathfinder": 1, "pathx": 1}


def get_config(task: str):
    """Our recipe for a task: that of Hawk with attention in every third block."""
    config = experiment("hawk").get_config(task)
    config.model.update(scaffold="griffin")
    config.scaffold.update(heads=RECIPES[task], window=1024)
    config.report.update(title="Griffin")
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "griffin", *sys.argv[1:]]))
