"""Synthesizer: attention whose scores are learned for each pair of positions, in addition to those of the inputs.

Paper:    Tay et al., "Synthesizer: Rethinking Self-Attention for Transformer Models", arXiv 2005.00743; on LRA: Tay et
          al., arXiv 2011.04006.
Run:      python experiments/synthesizer.py --task image          (or: ssm-bench train --model synthesizer --task image)
Expected: ListOps 36.99, Text 61.68, Retrieval 54.67, Image 41.61, Pathfinder 69.45, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with another size on Pathfinder, and random scores added to the products of queries and keys,
the default of the code. Text, Retrieval and Path-X have factorized scores of rank 32 instead: for 4,096 positions,
random ones would be 67 million parameters a layer. The file of Text asks for such scores without the products, under
names that the code does not read; on Retrieval, where the code has random ones, and on Path-X, for which there is no
file, they are our choice.

Known deviations: those of experiments/transformer.py. Text has 4,096 positions (there: 1,000, with random scores).
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{tay2021synthesizer,
  title = {Synthesizer: Rethinking Self-Attention for {T}ransformer Models},
  author = {Tay, Yi and Bahri, Dara and Metzler, Donald and Juan, Da-Cheng and Zhao, Zhe and Zheng, Che},
  booktitle = {International Conference on Machine Learning},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "rank": 4}

#: Longer sequences have factorized scores: random ones would have too many parameters.
LONG = 2_048


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "synthesizer"},
        # Of short sequences: the defaults of lra_benchmarks/models/synthesizer.
        "mixer": {
            "heads": 4,
            "width": 128,
            "scores": "random" if task.max_length <= LONG else "factorized",
            "rank": 32,
            "dot_product": True,
        },
        "report": {
            "title": "Synthesizer",
            "bibtex": BIBTEX,
            "published_row": "Synthesizer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer with the size that lra_benchmarks/*/configs gives for the Synthesizer.
RECIPES = merged(
    transformer.RECIPES,
    {
        "pathfinder": {  # pathfinder32/configs/synthesizer_base.py
            "model": {"layers": 2, "d_model": 64, "head_width": 64},
            "mixer": {"width": 32},
            "scaffold": {"width": 64},
        },
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "synthesizer", *sys.argv[1:]]))
