"""RetNet: retention, linear attention with one fixed decay per head and rotary positions.

Paper:    Sun et al., "Retentive Network: A Successor to Transformer for Large Language Models", arXiv 2307.08621.
Run:      python experiments/retnet.py --task text          (or: ssm-bench train --model retnet --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA, so the recipes are ours, those of experiments/gla.py. The layer is the paper's: values of
twice the width of keys, decays 1 - 2^(-5 - i) for head i, a norm for each head, a SiLU gate, rotary positions, causal.

Known deviations: the MLP is gated, of width 8/3; the paper's has one GELU layer of twice the width. Norms are RMS
norms; the paper's blocks have layer norms, and its heads group norms. There is no length extrapolation factor in the
rotary positions. Projections are initialized LeCun-normal.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gla

BIBTEX = """@misc{sun2023retentive,
  title = {Retentive Network: A Successor to {T}ransformer for Large Language Models},
  author = {Sun, Yutao and Dong, Li and Huang, Shaohan and Ma, Shuming and Xia, Yuqing and Xue, Jilong and
            Wang, Jianyong and Wei, Furu},
  year = {2023},
  eprint = {2307.08621},
  archiveprefix = {arXiv},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """The settings of GLA with another layer."""
    change = {
        "model": {"mixer": "retention"},
        "mixer": {"expand_k": 1.0, "expand_v": 2.0},
        "report": {"bibtex": BIBTEX, "title": "RetNet"},
    }
    return merged(gla.defaults(task), change)


#: Our choices, those of GLA.
RECIPES = gla.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "retnet", *sys.argv[1:]]))
