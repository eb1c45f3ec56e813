"""Megalodon: Mega with a complex moving average, normalization along time and normalized attention.

Paper:    Ma et al., "Megalodon: Efficient LLM Pretraining and Inference with Unlimited Context Length",
          arXiv 2404.08801.
Run:      python experiments/megalodon.py --task listops          (or: ssm-bench train --model megalodon ...)
Expected: ListOps 63.79, Text 90.48, Retrieval 91.76, Image 89.42, Pathfinder 98.13, Path-X 98.17 (Table 6).
Cost:     not measured yet.

No recipe is public: XuezheMax/megalodon@cff8ba5 is the language model. The sizes and the optimization are those of
Mega's recipes (experiments/mega.py), read from its file; the block is that of the language model with one head, one
group of channels in the normalization along time, and no gate in the feed-forward network, whose norm is layer norm on
all tasks, as is the final one. How the authors made the model bidirectional is not known: here the moving average has
two directions and attention sees all positions, while the normalization along time sees earlier positions only.

Known deviations: those of experiments/mega.py that concern the classifier. The feed-forward network has no learned
scale. Weight decay moves the scales of norms, queries and keys towards 0; in the authors' code, towards 1.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import mega

BIBTEX = """@inproceedings{ma2024megalodon,
  title = {Megalodon: Efficient {LLM} Pretraining and Inference with Unlimited Context Length},
  author = {Ma, Xuezhe and Yang, Xiaomeng and Xiong, Wenhan and Chen, Beidi and Yu, Lili and Zhang, Hao and
            May, Jonathan and Zettlemoyer, Luke and Levy, Omer and Zhou, Chunting},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 4, "width": 0, "key_width": 8}

#: Options of Mega that Megalodon does not have.
GONE = {"mixer": {"attention"}, "scaffold": {"nonlinearity", "hidden_dropout"}}


def _own(recipe: dict) -> dict:
    """Settings of Mega without its options and its choice of norms."""
    kept = {
        section: {name: value for name, value in recipe.get(section, {}).items() if name not in gone}
        for section, gone in GONE.items()
    }
    model = {"mixer": "megalodon", "scaffold": "megalodon", "norm": "layer", "prenorm": True, "final_norm": True}
    return recipe | kept | {"model": recipe["model"] | model}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    report = {
        "bibtex": BIBTEX,
        "published_row": "Megalodon",
        "published_source": "Ma et al., arXiv 2404.08801, Table 6",
        "title": "Megalodon",
    }
    return merged(_own(mega.defaults(task)), {"report": report})


RECIPES = {task: _own(recipe) for task, recipe in mega.RECIPES.items()}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "megalodon", *sys.argv[1:]]))
