"""Linformer: attention to 16 learned mixtures of the positions, at a cost linear in the length.

Paper:    Wang et al., "Linformer: Self-Attention with Linear Complexity", arXiv 2006.04768; on LRA: Tay et al.,
          arXiv 2011.04006.
Run:      python experiments/linformer.py --task listops          (or: ssm-bench train --model linformer --task listops)
Expected: ListOps 35.70, Text 53.94, Retrieval 52.27, Image 38.56, Pathfinder 76.34, Path-X fails (Tay et al.).
Cost:     not measured yet.

The recipes are the configurations of google-research/long-range-arena@cd31e5c (lra_benchmarks/*/configs): those of
experiments/transformer.py with another size on Pathfinder. Rank 16 is the default of the code; the file of Text sets 32
under a name that the code does not read. Each layer has one projection for keys, values and all heads, as there. There
is no file for Path-X, which has the size of the Transformer.

Known deviations: those of experiments/transformer.py. Padded positions do not contribute to the projected keys and
values. In the authors' code they do, and also here under the protocol `paper`. The projection is initialized normal
with variance 1 / length; in the authors' code, it is Xavier-uniform.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@article{wang2020linformer,
  title = {Linformer: Self-Attention with Linear Complexity},
  author = {Wang, Sinong and Li, Belinda Z. and Khabsa, Madian and Fang, Han and Ma, Hao},
  journal = {arXiv preprint arXiv:2006.04768},
  year = {2020},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2, "width": 0, "rank": 4}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer."""
    change = {
        "model": {"mixer": "linformer", "paper_padding": "everywhere"},
        # The rank is the default of lra_benchmarks/models/linformer.
        "mixer": {"heads": 4, "width": 128, "rank": 16},
        "report": {
            "title": "Linformer",
            "bibtex": BIBTEX,
            "published_row": "Linformer",
            "published_source": "Tay et al., arXiv 2011.04006; google-research/long-range-arena README",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer with the size that lra_benchmarks/*/configs gives for the Linformer.
RECIPES = merged(
    transformer.RECIPES,
    {
        "pathfinder": {"model": {"layers": 1}, "mixer": {"heads": 2}},  # pathfinder32/configs/linformer_base.py
    },
)


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "linformer", *sys.argv[1:]]))
