"""HGRN2: gated linear attention whose keys are what its decays let go, with bounded forget gates.

Paper:    Qin et al., "HGRN2: Gated Linear RNNs with State Expansion", arXiv 2404.07904.
Run:      python experiments/hgrn2.py --task text          (or: ssm-bench train --model hgrn2 --task text)
Expected: no numbers are quoted here; for HGRN see experiments/hgrn.py.
Cost:     not measured yet.

The configurations of the paper's LRA runs are not public, so the recipes are ours, those of experiments/gla.py. The
layer is the paper's: SiLU queries, keys 1 - f, lower bounds of forget gates that grow with depth, a norm over all
heads, causal.

Known deviations: the lower bound of each layer is learned by itself, instead of as a cumulative sum over layers; the
initial values are the same. The gated MLP has a GELU and biases; the paper's has a SiLU and none. One head has 32
channels; the paper's have 128. Projections are initialized LeCun-normal.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gla

BIBTEX = """@inproceedings{qin2024hgrn2,
  title = {{HGRN2}: Gated Linear {RNNs} with State Expansion},
  author = {Qin, Zhen and Yang, Songlin and Sun, Weixuan and Shen, Xuyang and Li, Dong and Sun, Weigao and
            Zhong, Yiran},
  booktitle = {Conference on Language Modeling},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """The settings of GLA with another layer."""
    change = {
        "model": {"mixer": "hgrn2"},
        "report": {"bibtex": BIBTEX, "title": "HGRN2"},
    }
    return merged(gla.defaults(task), change)


#: Our choices, those of GLA.
RECIPES = gla.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "hgrn2", *sys.argv[1:]]))
