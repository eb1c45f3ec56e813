"""DeltaNet: a matrix memory per head that replaces the value stored under a key.

Paper:    Yang et al., "Parallelizing Linear Transformers with the Delta Rule over Sequence Length", arXiv 2406.06484.
Run:      python experiments/deltanet.py --task text          (or: ssm-bench train --model deltanet --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA, so the recipes are ours, those of experiments/gla.py. The layer is the paper's: short
convolutions of 4 taps and SiLUs, queries and keys of length 1, a writing strength per head, an RMS norm for each head,
no gate, causal.

Known deviations: the gated MLP has a GELU and biases; the paper's has a SiLU and none. One head has 32 channels; the
paper's have 128. Projections are initialized LeCun-normal.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gla

BIBTEX = """@inproceedings{yang2024parallelizing,
  title = {Parallelizing Linear {T}ransformers with the Delta Rule over Sequence Length},
  author = {Yang, Songlin and Wang, Bailin and Zhang, Yu and Shen, Yikang and Kim, Yoon},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """The settings of GLA with another layer."""
    change = {
        "model": {"mixer": "deltanet"},
        "mixer": {"taps": 4},
        "report": {"bibtex": BIBTEX, "title": "DeltaNet"},
    }
    return merged(gla.defaults(task), change)


#: Our choices, those of GLA.
RECIPES = gla.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "deltanet", *sys.argv[1:]]))
