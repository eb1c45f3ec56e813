"""RWKV-7: the generalized delta rule, with decays and writing rates per channel.

Paper:    Peng et al., "RWKV-7 Goose with Expressive Dynamic State Evolution", arXiv 2503.14456.
Run:      python experiments/rwkv7.py --task text          (or: ssm-bench train --model rwkv7 --task text)
Expected: no published numbers on these tasks. RWKV-4, an earlier model without a matrix memory, reaches ListOps 55.88,
          Text 86.04, Retrieval 88.34, Image 70.53, Pathfinder 58.42, Path-X fails (arXiv 2305.13048).
Cost:     not measured yet.

The paper does not use LRA, so the recipes are ours, those of experiments/gla.py. The time mixing is the paper's, with
its mixtures of neighbors, low-rank maps, bonus and initial constants, and heads of 32 channels (the paper: 64). Blocks
have layer norms, also a final one, and are causal.

Known deviations: values are not mixed with those of the first layer. A gated MLP of width 8/3 replaces the channel
mixing, a squared ReLU of a mixture of neighbors. Embeddings have no norm. Projections are initialized LeCun-normal
instead of orthogonal. The output projection is also LeCun-normal, instead of zero. Both factors of low-rank maps have
small initial values, instead of one factor of zeros. The norms of heads start at scale 1.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gla

BIBTEX = """@misc{peng2025rwkv7,
  title = {{RWKV}-7 ``{G}oose'' with Expressive Dynamic State Evolution},
  author = {Peng, Bo and Zhang, Ruichong and Goldstein, Daniel and Alcaide, Eric and Du, Xingjian and Hou, Haowen and
            Lin, Jiaju and Liu, Jiaxing and Lu, Janna and Merrill, William and Song, Guangyu and Tan, Kaifeng and
            Utpala, Saiteja and Wilce, Nathan and Wind, Johan S. and Wu, Tianyi and Wuttke, Daniel and
            Zhou-Zheng, Christian},
  year = {2025},
  eprint = {2503.14456},
  archiveprefix = {arXiv},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """The settings of GLA with another layer."""
    change = {
        "model": {"mixer": "rwkv7", "norm": "layer"},
        "report": {"bibtex": BIBTEX, "title": "RWKV-7"},
    }
    return merged(gla.defaults(task), change)


#: Our choices, those of GLA.
RECIPES = gla.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "rwkv7", *sys.argv[1:]]))
