"""LRU: a linear recurrent unit with stable exponential eigenvalues on a ring, and normalised inputs.

Paper:    Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349.
Run:      python experiments/lru.py --task text          (or: ssm-bench train --model lru --task text)
Expected: ListOps 60.2, Text 89.4, Retrieval 89.9, Image 89.0 (in colour), Pathfinder 95.1, Path-X 94.2 (the paper).
Cost:     steps of the whole schedule on one H100, padded to the longest, from the records under results/:
          Text 16 min, ListOps 10 min, Retrieval 87 min, Image 59 min, Pathfinder 113 min, Path-X 315 min.

The recipes are the paper's Table 9 (appendix D). Known deviations: the paper tunes the learning rate on a grid and does
not publish it, so `lr` is our choice: 0.004 where the paper mentions it (Image), 0.001 on Path-X and on ListOps (there
the best of four by the validation of an eighth of the schedule, results/runs/custom/listops/lru), 0.002 elsewhere.
Bidirectional layers (Pathfinder and Path-X) read one recurrence from both ends with an output matrix each, and the
half-GLU of Path-X is half_glu1, since the paper leaves both open, as it does the decay of batch norm (0.9 here, 0.99 in
minimal-LRU); token tables start with variance 1/h. Its Image is in colour, ours is the gray one of LRA. On ListOps the
whole schedule stays far below the paper, which is not explained; with twice that rate it was a little better, within
what one seed can tell. In records of the same folder, one seed each: tokens of variance 1 did not help over an eighth
of the schedule. Phases that start in [0, pi / 10], as on Path-X, did, and over the whole schedule in half precision
made up about half of what is missing. Seen without a record: near the end of the run with twice that rate the
eigenvalues were still within the ring that they start in.
"""

import math
import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{orvieto2023lru,
  title = {Resurrecting Recurrent Neural Networks for Long Sequences},
  author = {Orvieto, Antonio and Smith, Samuel L. and Gu, Albert and Fernando, Anushan and Gulcehre, Caglar and
            Pascanu, Razvan and De, Soham},
  booktitle = {International Conference on Machine Learning},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16}

#: d_model, complex states, steps, batch, rate factor of the recurrence, dropout, r_min, r_max, bidirectional,
#: activation, learning rate (ours).
RECIPES = {
    "listops": (128, 256, 80_000, 32, 0.5, 0.0, 0.0, 0.99, False, "glu", 0.001),
    "text": (256, 192, 50_000, 32, 0.1, 0.1, 0.5, 0.9, False, "glu", 0.002),
    "retrieval": (128, 256, 100_000, 64, 0.5, 0.1, 0.5, 0.9, False, "glu", 0.002),
    "image": (512, 384, 180_000, 50, 0.25, 0.1, 0.9, 0.999, False, "glu", 0.004),
    "pathfinder": (192, 256, 500_000, 64, 0.25, 0.0, 0.9, 0.999, True, "glu", 0.002),
    "pathx": (128, 256, 250_000, 32, 0.25, 0.0, 0.999, 0.9999, True, "half_glu1", 0.001),
}


def get_config(task: str):
    """The published recipe for a task."""
    d_model, states, steps, batch, factor, dropout, r_min, r_max, bidirectional, activation, lr = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="lru",
        scaffold="glu",
        d_model=d_model,
        layers=6,
        norm="batch",
        norm_decay=0.9,
        prenorm=True,
        dropout=dropout,
        tie_dropout=True,
        pooling="mean",
        embedding_std=d_model**-0.5,
    )
    config.mixer.update(
        state_size=states,
        r_min=r_min,
        r_max=r_max,
        max_phase=math.pi / 10 if task == "pathx" else 2 * math.pi,
        bidirectional=bidirectional,
    )
    config.scaffold.update(activation=activation)
    config.optimizer.update(
        lr=lr, ssm_lr=lr * factor, weight_decay=0.05, schedule="cosine", warmup=0.1, end_lr=1e-7
    )
    # All but nu, theta, B and gamma decay.
    config.optimizer.groups.update(exempt="global+decay")
    config.train.update(batch_size=batch, published_steps=steps, evaluations=50)
    config.report.update(
        title="LRU",
        bibtex=BIBTEX,
        published_row="LRU",
        published_source="arXiv 2403.16899 Table II",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "lru", *sys.argv[1:]]))
