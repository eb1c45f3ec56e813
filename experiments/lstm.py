"""LSTM: long short-term memory, a nonlinear baseline.

Paper:    Hochreiter, Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; the form in use today:
          Greff et al., arXiv 1503.04069.
Run:      python experiments/lstm.py --task text          (or: ssm-bench train --model lstm --task text)
Expected: no published numbers on these tasks.
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 53 min.
          The recurrence is sequential in time.

The recipes are ours, those of experiments/gru.py with LSTM cells.

Known deviations: the paper has no forget gate, no residual blocks and not these tasks. The cells have no peepholes.
"""

import sys

from ssm_bench.config import merged
from ssm_bench.data import TaskSpec
from ssm_bench.experiments import gru

BIBTEX = """@article{hochreiter1997lstm,
  title = {Long Short-Term Memory},
  author = {Hochreiter, Sepp and Schmidhuber, J{\\"u}rgen},
  journal = {Neural Computation},
  volume = {9},
  number = {8},
  pages = {1735--1780},
  year = {1997},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 0}


def defaults(task: TaskSpec) -> dict:
    """The settings of the GRU with other cells."""
    change = {"model": {"mixer": "lstm"}, "report": {"title": "LSTM", "bibtex": BIBTEX}}
    return merged(gru.defaults(task), change)


#: Those of the GRU.
RECIPES = gru.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lstm", *sys.argv[1:]]))
