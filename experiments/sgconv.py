"""SGConv: convolutions with kernels of few parameters, in pieces of doubling length and decaying size.

Paper:    Li et al., "What Makes Convolutional Models Great on Long Sequence Modeling?", arXiv 2210.09298.
Run:      python experiments/sgconv.py --task listops          (or: ssm-bench train --model sgconv --task listops)
Expected: ListOps 61.45, Text 89.20, Retrieval 91.11, Image 87.97, Pathfinder 95.46, Path-X 97.83 (a figure in the
          authors' repository).
Cost:     not measured yet.

ctlllll/SGConv@97862df publishes the layer but no configuration of the tasks. Its code is built on that of S4, so the
recipes here are those of experiments/s4.py with this mixer, in both directions, with pieces of 64 numbers and a decay
of 2, the defaults of the layer.

Known deviations: the recipes are not the authors', and neither are the sizes of pieces, which their repository does not
give for these tasks.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import s4

BIBTEX = """@inproceedings{li2023sgconv,
  title = {What Makes Convolutional Models Great on Long Sequence Modeling?},
  author = {Li, Yuhong and Cai, Tianle and Zhang, Yi and Chen, Deming and Dey, Debadeepta},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {"piece": 8}


def defaults(task: TaskSpec) -> dict:
    """The settings of S4 with this mixer."""
    change = {
        "model": {"mixer": "sgconv"},
        # The pieces have the rate of the kernel, 0.001, and weight decay, as in the authors' layer.
        "optimizer": {"groups": {"output_matrix": "ssm+decay"}},
        "report": {
            "title": "SGConv",
            "bibtex": BIBTEX,
            "published_row": "SGConv",
            "published_source": "ctlllll/SGConv@97862df, imgs/lra.png",
        },
    }
    return merged(s4.defaults(task), change) | {"mixer": {"piece": 64, "decay": 2.0, "bidirectional": True}}


#: Those of S4, without the options of its mixer.
RECIPES = {
    task: {section: settings for section, settings in recipe.items() if section != "mixer"}
    for task, recipe in s4.RECIPES.items()
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "sgconv", *sys.argv[1:]]))
