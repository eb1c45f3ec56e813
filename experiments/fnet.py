"""FNet: the Transformer with two Fourier transforms, which have no parameters, instead of attention.

Paper:    Lee-Thorp et al., "FNet: Mixing Tokens with Fourier Transforms", arXiv 2105.03824.
Run:      python experiments/fnet.py --task listops          (or: ssm-bench train --model fnet --task listops)
Expected: ListOps 35.33, Text 65.11, Retrieval 59.61, Image 38.67, Pathfinder 77.80, Path-X fails (as quoted in Table 4
          of Gu et al., arXiv 2111.00396).
Cost:     not measured yet.

The paper's recipe for these tasks is not published. These are the recipes of experiments/transformer.py, those of LRA's
own Transformer, with the paper's block: norms after the residual sums, since the transform is not scaled and would
otherwise dominate the sum; no projection after the transform. On ListOps one seed stays at the most common answer for
the whole schedule (results/runs/paper/listops/fnet): the learning rate of the Transformer does not suit FNet, and the
authors' is not known.

Known deviations: those of experiments/transformer.py except for those of attention. Each document is transformed at its
own length; the authors' code (google-research/google-research@1d4d2f1, f_net) transforms padding too, as is done here
under the protocol `paper`. The authors' embeddings have a norm and a linear map of their own, and their dense layers
are initialized normal with standard deviation 0.02.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import transformer

BIBTEX = """@inproceedings{leethorp2022fnet,
  title = {{FN}et: Mixing Tokens with {F}ourier Transforms},
  author = {Lee-Thorp, James and Ainslie, Joshua and Eckstein, Ilya and Onta{\\~n}{\\'o}n, Santiago},
  booktitle = {Proceedings of the 2022 Conference of the North American Chapter of the Association for Computational
               Linguistics: Human Language Technologies},
  year = {2022},
}"""

#: Options of the mixer at toy size.
TINY = {}


def defaults(task: TaskSpec) -> dict:
    """The settings of the Transformer with another mixer and norms in other places."""
    change = {
        "model": {"mixer": "fourier", "prenorm": False, "final_norm": False, "paper_padding": "everywhere"},
        "report": {
            "title": "FNet",
            "bibtex": BIBTEX,
            "published_row": "FNet",
            "published_source": "Gu et al., arXiv 2111.00396, Table 4",
        },
    }
    return merged(transformer.defaults(task) | {"mixer": {}}, change)


#: Those of the Transformer; the mixer has no options.
RECIPES = {task: recipe | {"mixer": {}} for task, recipe in transformer.RECIPES.items()}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "fnet", *sys.argv[1:]]))
