"""Mamba-2: state space duality, a selective model with one decay a head, in the block of Mamba with a gated norm.

Paper:    Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space
          Duality", arXiv 2405.21060.
Run:      python experiments/mamba2.py --task text          (or: ssm-bench train --model mamba2 --task text)
Expected: ListOps 41.45, Text 86.09, Retrieval 79.23, Image 71.96, Pathfinder 75.45, Path-X 69.07 (a third party's run:
          Yu and Erichson, arXiv 2505.09022).
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 14 min.

No recipe for LRA is published, so the recipes are ours: batch and lengths of MLRA's Mamba (see experiments/mamba.py),
its depth and width on token tasks for every task, states, heads of 64 and norm of the paper, and a cosine after a tenth
of warm-up at a rate of 0.001. Known deviations from the authors' block: B, C and step sizes are projected from the
mixer's own input, after its convolution, instead of beside it; projections start LeCun-normal.
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{dao2024transformers,
  title = {Transformers are {SSM}s: Generalized Models and Efficient Algorithms Through Structured State Space
           Duality},
  author = {Dao, Tri and Gu, Albert},
  booktitle = {International Conference on Machine Learning},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "heads": 2}

#: layers, d_model, batch, weight decay, evaluations, steps.
RECIPES = {
    "listops": (4, 128, 32, 0.05, 25, 75_000),
    "text": (4, 128, 32, 0.1, 45, 31_640),
    "retrieval": (4, 128, 32, 0.05, 10, 45_964),
    "image": (4, 128, 50, 0.1, 150, 135_000),
    "pathfinder": (4, 128, 32, 0.05, 65, 325_000),
    "pathx": (4, 128, 16, 0.05, 50, 500_000),
}

EXPAND, HEAD_WIDTH = 2, 64


def get_config(task: str):
    """Our recipe for a task."""
    layers, d_model, batch, weight_decay, evaluations, steps = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="ssd",
        scaffold="mamba",
        d_model=d_model,
        layers=layers,
        norm="rms",
        prenorm=True,
        final_norm=True,
        pooling="mean",
    )
    config.mixer.update(
        state_size=128,
        heads=EXPAND * d_model // HEAD_WIDTH,
        dt_min=0.0001 if task == "pathx" else 0.001,
        dt_max=0.1,
        bidirectional=False,
    )
    config.scaffold.update(expand=float(EXPAND), taps=4, norm_gated=True)
    config.optimizer.update(lr=0.001, ssm_lr=0.001, weight_decay=weight_decay, schedule="cosine", warmup=0.1)
    config.optimizer.groups.update(spectrum="global", step_size="global", feedthrough="global")
    config.train.update(batch_size=batch, published_steps=steps, evaluations=evaluations)
    config.report.update(
        title="Mamba-2",
        bibtex=BIBTEX,
        published_row="Mamba-2",
        published_source="Yu et al., arXiv 2505.09022 (B2S6)",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "mamba2", *sys.argv[1:]]))
