"""Linear Transformer: attention with features elu(x) + 1 in place of the softmax, at a cost linear in the length.

Paper:    Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
          arXiv 2006.16236; on LRA: Tay et al., arXiv 2011.04006.
Run:      python experiments/linear_transformer.py --task listops
          (or: ssm-bench train --model linear_transformer --task listops)
Expected: ListOps 16.13, Text 65.90, Retrieval 53.09, Image 42.34, Pathfinder 75.30, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of its
Transformer, with other sizes on Pathfinder. Known deviations: those of experiments/transformer.py, except that the
authors drop no attention weights here either; padded positions are no
keys, where theirs are (as they are here under the protocol `paper`); Path-X, for which they have no configuration, has
the sizes of their Transformer.
"""

import sys

from ssm_bench.config import experiment

BIBTEX = """@inproceedings{katharopoulos2020transformers,
  title = {Transformers are {RNN}s: Fast Autoregressive Transformers with Linear Attention},
  author = {Katharopoulos, Angelos and Vyas, Apoorv and Pappas, Nikolaos and Fleuret, Fran{\\c{c}}ois},
  booktitle = {International Conference on Machine Learning},
  year = {2020},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0}

#: layers, d_model, width of q/k/v, width of the MLP, heads.
RECIPES = {
    "listops": (4, 512, 512, 1024, 8),
    "text": (4, 256, 256, 1024, 4),
    "retrieval": (4, 128, 128, 512, 4),
    "image": (1, 128, 64, 128, 8),
    "pathfinder": (1, 128, 64, 128, 2),
    "pathx": (1, 32, 16, 32, 2),
}


def get_config(task: str):
    """The recipe of the Transformer with linear attention, at its own sizes."""
    layers, d_model, width, mlp, heads = RECIPES[task]
    config = experiment("transformer").get_config(task)
    config.model.update(
        mixer="linear_attention", layers=layers, d_model=d_model, head_width=mlp, paper_padding="everywhere"
    )
    config.mixer.update(heads=heads, width=width)
    config.scaffold.update(width=mlp)
    config.report.update(
        title="Linear Transformer",
        bibtex=BIBTEX,
        published_row="Linear Transformer",
        published_source="Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "linear_transformer", *sys.argv[1:]]))
