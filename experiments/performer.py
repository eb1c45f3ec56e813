"""Performer: attention with kernel features instead of the softmax, at a cost linear in the length.

Paper:    Choromanski et al., "Rethinking Attention with Performers", arXiv 2009.14794; on LRA: Tay et al.,
          arXiv 2011.04006.
Run:      python experiments/performer.py --task listops          (or: ssm-bench train --model performer ...)
Expected: ListOps 18.01, Text 65.40, Retrieval 53.82, Image 42.77, Pathfinder 77.05, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of its
Transformer, with more heads on Pathfinder. The features there are relu(x) + 0.001 of queries and keys, without a random
matrix; on ListOps only they are positive random features of the softmax, two per head.

Known deviations: those of experiments/transformer.py, except that the authors do not drop attention weights here
either. On ListOps, the random features are drawn once; the authors draw them in every call, with the queries as the
seed. The constant added to them stays small relative to the features of long queries and keys (docs/models). Padded
positions are masked. In the authors' code they are not, and neither are they here under the protocol `paper`. The
authors have no configuration for Path-X; ours has the size of the Transformer.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{choromanski2021rethinking,
  title = {Rethinking Attention with {P}erformers},
  author = {Choromanski, Krzysztof and Likhosherstov, Valerii and Dohan, David and Song, Xingyou and Gane, Andreea and
            Sarlos, Tamas and Hawkins, Peter and Davis, Jared and Mohiuddin, Afroz and Kaiser, {\\L}ukasz and
            Belanger, David and Colwell, Lucy and Weller, Adrian},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "random_features": 8}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with attention by features."""
    change = {
        "model": {"mixer": "performer", "paper_padding": "everywhere"},
        "mixer": {"kernel": "relu", "random_features": 0},
        "report": {
            "title": "Performer",
            "bibtex": BIBTEX,
            "published_row": "Performer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task), change)


#: Those of the Transformer.
RECIPES = merged(
    transformer.RECIPES,
    {
        "listops": {"mixer": {"kernel": "softmax", "random_features": 2}},  # lra_benchmarks/listops
        "pathfinder": {"mixer": {"heads": 8}},  # lra_benchmarks/pathfinder32
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "performer", *sys.argv[1:]]))
