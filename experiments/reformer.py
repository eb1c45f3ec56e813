"""Reformer: softmax attention among positions that locality-sensitive hashing sorts next to each other.

Paper:    Kitaev, Kaiser, Levskaya, "Reformer: The Efficient Transformer", arXiv 2001.04451; on LRA: Tay et al.,
          arXiv 2011.04006.
Run:      python experiments/reformer.py --task text          (or: ssm-bench train --model reformer --task text)
Expected: ListOps 37.27, Text 56.10, Retrieval 53.40, Image 38.07, Pathfinder 68.50, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with other sizes on Image and Pathfinder. Hashing follows the defaults of the code: one
round, ten buckets, ten chunks of a sequence padded to the longest, not causal; queries are as wide as the model, since
the code does not read the width in the files. A chunk is therefore a tenth of the longest sequence (Text: of 4,096
characters; the authors' file says 1,000). There is no file for Path-X, which has the size of the Transformer and, by
our choice, a hundred chunks: ten would need 27 GB for the scores of one batch.

Known deviations: those of experiments/transformer.py. If the benchmark's code differs from the paper, this
implementation follows the paper. Keys have length one; in the code, they are as long as the queries, and scores are
multiplied by the square root of the channels of a head. A position does not attend to itself. There is an output
projection; the code has none. The first chunk has no previous chunk; in the code, this is the last chunk. Padding is
sorted last; in the code, and here under the protocol `paper`, it is sorted like any other position. Each head has its
own rotations, which are the same in every layer and step. In the code, all heads share them; in the paper, they are
redrawn each time. There are no reversible layers, which save memory and do not change results.
"""

import math
import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{kitaev2020reformer,
  title = {Reformer: The Efficient Transformer},
  author = {Kitaev, Nikita and Kaiser, {\\L}ukasz and Levskaya, Anselm},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "chunk": 8, "buckets": 4}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "lsh_attention", "paper_padding": "everywhere"},
        "mixer": {
            "heads": 4,
            "width": 0,
            # Ten chunks of a sequence with its class token, as by default in the authors' code.
            "chunk": math.ceil((task.max_length + 1) / 10),
            "buckets": 10,
            "rounds": 1,
            "seed": 0,
        },
        "report": {
            "title": "Reformer",
            "bibtex": BIBTEX,
            "published_row": "Reformer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer; queries are as wide as the model on every task.
RECIPES = merged(
    {task: recipe | {"mixer": {"heads": recipe["mixer"]["heads"]}} for task, recipe in transformer.RECIPES.items()},
    {
        "listops": {"mixer": {"chunk": 201}},  # lra_benchmarks/listops: of 2,000 tokens
        "image": {  # lra_benchmarks/cifar10
            "model": {"layers": 4, "d_model": 64, "head_width": 64},
            "scaffold": {"width": 64},
        },
        "pathfinder": {  # lra_benchmarks/pathfinder32
            "model": {"layers": 2, "d_model": 64, "head_width": 64},
            "mixer": {"heads": 8},
            "scaffold": {"width": 64},
        },
        "pathx": {"mixer": {"chunk": 164}},  # ours
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "reformer", *sys.argv[1:]]))
