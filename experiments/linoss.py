"""LinOSS: forced harmonic oscillators with an implicit discretization.

Paper:    Rusch, Rus, "Oscillatory State-Space Models", arXiv 2410.03943.
Run:      python experiments/linoss.py --task listops          (or: ssm-bench train --model linoss --task listops)
Expected: no published numbers on these tasks; the paper reports on long time series (UEA, PPG).
Cost:     not measured yet.

No recipe for these tasks is public: tk-rusch/linoss@83e6318 has those of time series. The layer and its block (norm,
LinOSS, GELU, gated linear unit, dropout) are the authors'; sizes and optimization are those of experiments/s5.py, the
nearest model of this suite, without its options of the mixer but for the number of states. They are a starting point
and were not tuned.

Known deviations: the layer is bidirectional, with a second system run from the end; theirs reads forward only. Batch
norm has a learned scale and bias, theirs has none.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import s5

BIBTEX = """@inproceedings{rusch2025linoss,
  title = {Oscillatory State-Space Models},
  author = {Rusch, T. Konstantin and Rus, Daniela},
  booktitle = {International Conference on Learning Representations},
  year = {2025},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16}


def _own(recipe: dict) -> dict:
    """Settings of S5 with this mixer: of its options only the number of states."""
    kept = {"state_size": recipe["mixer"]["state_size"]}
    return recipe | {"mixer": kept, "scaffold": {"activation": "glu"}}


def defaults(task: TaskSpec) -> dict:
    """The settings of S5 with this mixer, without a published row to compare with."""
    change = {
        "model": {"mixer": "linoss"},
        "mixer": {"discretization": "im", "bidirectional": True},
        "report": {"title": "LinOSS", "bibtex": BIBTEX, "published_row": "", "published_source": ""},
    }
    return merged(_own(s5.defaults(task)), change)


RECIPES = {task: _own(recipe) for task, recipe in s5.RECIPES.items()}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "linoss", *sys.argv[1:]]))
