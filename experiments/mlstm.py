"""mLSTM: the matrix memory of xLSTM, in the block of xLSTM 7B.

Paper:    Beck et al., "xLSTM: Extended Long Short-Term Memory", arXiv 2405.04517; the block: arXiv 2503.13427.
Run:      python experiments/mlstm.py --task text          (or: ssm-bench train --model mlstm --task text)
Expected: no published numbers for this block. An xLSTM reaches ListOps 41.1, Retrieval 90.6, Image 69.5, Pathfinder
          91.9 (its paper, as quoted in arXiv 2502.16249), with blocks and recipes that are not public.
Cost:     not measured yet.

No recipe for LRA is public, so the recipes are ours, those of experiments/gla.py. The block is that of xLSTM 7B: keys
of half the width, gates bounded by 15, biases of -10 for input gates and of 3 to 6 for forget gates, a layer norm for
each head, a sigmoid output gate, RMS norms, a gated MLP of width 8/3, causal, a final norm.

Known deviations: there are no blocks with a scalar memory (sLSTM). The gated MLP has a GELU and biases; the authors'
has a SiLU and none. Logits are not bounded. The norms of the heads share one scale and have offsets. Projections are
initialized LeCun-normal.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gla

BIBTEX = """@inproceedings{beck2024xlstm,
  title = {{xLSTM}: Extended Long Short-Term Memory},
  author = {Beck, Maximilian and P{\\"o}ppel, Korbinian and Spanring, Markus and Auer, Andreas and
            Prudnikova, Oleksandra and Kopp, Michael and Klambauer, G{\\"u}nter and Brandstetter, Johannes and
            Hochreiter, Sepp},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """The settings of GLA with another layer."""
    change = {
        "model": {"mixer": "mlstm"},
        "mixer": {"expand_k": 0.5, "expand_v": 1.0, "soft_cap": 15.0},
        "report": {"bibtex": BIBTEX, "title": "mLSTM"},
    }
    return merged(gla.defaults(task), change)


#: Our choices, those of GLA.
RECIPES = gla.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "mlstm", *sys.argv[1:]]))
