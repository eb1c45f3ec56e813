"""Local attention: each position attends to those of its own block, the weakest row of the Long Range Arena.

Paper:    Tay et al., "Long Range Arena: A Benchmark for Efficient Transformers", arXiv 2011.04006.
Run:      python experiments/local_attention.py --task image
          (or: ssm-bench train --model local_attention --task image)
Expected: ListOps 15.82, Text 52.98, Retrieval 53.39, Image 41.46, Pathfinder 66.63, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with other sizes on Image and Pathfinder. Blocks of 50 are the default of the code; the files
of Image and Pathfinder set 64. There is no file for Path-X, which has the size of the Transformer and, by our choice,
blocks of 64.

Known deviations: those of experiments/transformer.py. Blocks contain consecutive positions, as described in the paper.
The authors' code reshapes a sequence of c blocks such that every c-th position is in the same block. On tasks with a
class token (ListOps, Text, Retrieval), the token therefore sees only the first 49 tokens here; in the authors' code, it
sees 49 tokens that are spread over the sequence.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{tay2021long,
  title = {Long Range Arena: A Benchmark for Efficient Transformers},
  author = {Tay, Yi and Dehghani, Mostafa and Abnar, Samira and Shen, Yikang and Bahri, Dara and Pham, Philip and
            Rao, Jinfeng and Yang, Liu and Ruder, Sebastian and Metzler, Donald},
  booktitle = {International Conference on Learning Representations},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "block": 8}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "local_attention"},
        # The defaults of lra_benchmarks/models/local.
        "mixer": {"heads": 4, "width": 128, "block": 50},
        "report": {
            "title": "Local attention",
            "bibtex": BIBTEX,
            "published_row": "Local Attention",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer with the sizes that lra_benchmarks/*/configs gives for local attention.
RECIPES = merged(
    transformer.RECIPES,
    {
        "image": {  # cifar10/configs/local_base.py
            "model": {"pooling": "mean"},
            "mixer": {"heads": 2, "block": 64},
        },
        "pathfinder": {  # pathfinder32/configs/local_base.py
            "model": {"layers": 2, "d_model": 64, "dropout": 0.1, "head_width": 64, "input_dropout": 0.1},
            "mixer": {"heads": 4, "width": 32, "block": 64},
            "scaffold": {"width": 64},
        },
        "pathx": {"mixer": {"block": 64}},  # ours
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "local_attention", *sys.argv[1:]]))
