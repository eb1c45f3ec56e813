"""Linear Transformer: attention with features elu(x) + 1 instead of the softmax, at a cost linear in the length.

Paper:    Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
          arXiv 2006.16236; on LRA: Tay et al., arXiv 2011.04006.
Run:      python experiments/linear_transformer.py --task listops
          (or: ssm-bench train --model linear_transformer --task listops)
Expected: ListOps 16.13, Text 65.90, Retrieval 53.09, Image 42.34, Pathfinder 75.30, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of its
Transformer, with another size on Pathfinder.

Known deviations: those of experiments/transformer.py, except that the authors do not drop attention weights here
either. Padded positions are masked. In the authors' code they are not, and neither are they here under the protocol
`paper`. The authors have no configuration for Path-X; ours has the size of the Transformer.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{katharopoulos2020transformers,
  title = {Transformers are {RNN}s: Fast Autoregressive Transformers with Linear Attention},
  author = {Katharopoulos, Angelos and Vyas, Apoorv and Pappas, Nikolaos and Fleuret, Fran{\\c{c}}ois},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with linear attention."""
    change = {
        "model": {"mixer": "linear_attention", "paper_padding": "everywhere"},
        "report": {
            "title": "Linear Transformer",
            "bibtex": BIBTEX,
            "published_row": "Linear Transformer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task), change)


#: Those of the Transformer, of another size on Pathfinder.
RECIPES = merged(
    transformer.RECIPES,
    {
        "pathfinder": {  # lra_benchmarks/pathfinder32
            "model": {"layers": 1, "d_model": 128, "head_width": 128},
            "mixer": {"heads": 2, "width": 64},
            "scaffold": {"width": 128},
        },
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "linear_transformer", *sys.argv[1:]]))
