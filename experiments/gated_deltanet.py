"""Gated DeltaNet: the delta rule of DeltaNet with the decay of Mamba-2.

Paper:    Yang et al., "Gated Delta Networks: Improving Mamba2 with Delta Rule", arXiv 2412.06464.
Run:      python experiments/gated_deltanet.py --task text
          (or: ssm-bench train --model gated_deltanet --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA, so the recipes are ours, those of experiments/gla.py. The layer is the paper's: short
convolutions of 4 taps and SiLUs, queries and keys of length 1, a writing strength and a decay per head, keys of 3/4 and
values of 3/2 of the width, an RMS norm for each head, a SiLU gate, causal.

Known deviations: the gated MLP has a GELU and biases; in the paper, it has a SiLU and no biases. Each head has 24 key
and 48 value channels; the authors use 256 and 512. The decay rates A are initialized uniformly in [1, 16], as in
Mamba-2; the authors use [0, 16]. Projections are initialized LeCun-normal.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gla

BIBTEX = """@inproceedings{yang2025gated,
  title = {Gated Delta Networks: Improving {M}amba2 with Delta Rule},
  author = {Yang, Songlin and Kautz, Jan and Hatamizadeh, Ali},
  booktitle = {International Conference on Learning Representations},
  year = {2025},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """The settings of GLA with another layer."""
    change = {
        "model": {"mixer": "gated_deltanet"},
        "mixer": {"expand_k": 0.75, "expand_v": 1.5, "taps": 4, "dt_min": 0.001, "dt_max": 0.1},
        "report": {"bibtex": BIBTEX, "title": "Gated DeltaNet"},
    }
    return merged(gla.defaults(task), change)


#: Our choices, those of GLA.
RECIPES = gla.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "gated_deltanet", *sys.argv[1:]]))
