"""H3: two gates and a shift around a diagonal state space model, then an MLP.

Paper:    Fu, Dao, Saab, Thomas, Rudra, Ré, "Hungry Hungry Hippos: Towards Language Modeling with State Space Models",
          arXiv 2212.14052.
Run:      python experiments/h3.py --task text          (or: ssm-bench train --model h3 --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The layer and its block (layer norm before, an MLP of four times the width after) are those of HazyResearch/H3@5c4d06b:
state and shift of 64, S4D-Lin, bilinear. The same model is `--config.model.scaffold=h3` with the mixer s4d. The recipes
are ours: steps, batches, layers and dropout of S4D (experiments/s4d.py) at half its width, which gives 1.0 to 1.5 times
as many weights, with a smaller rate and clipped gradients. Known deviations: the paper trains causal language models,
this is a bidirectional classifier with a centred shift; heads have one channel (the default of the authors' code); the
MLP starts LeCun-normal, theirs with standard deviations of 0.02 and, in its last map, 0.02 / sqrt(2 layers).
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{fu2023h3,
  title = {Hungry Hungry Hippos: Towards Language Modeling with State Space Models},
  author = {Fu, Daniel Y. and Dao, Tri and Saab, Khaled K. and Thomas, Armin W. and Rudra, Atri and
            R{\\'e}, Christopher},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "shift_size": 8}

#: layers, d_model, dropout, batch, steps, learning rate, smallest dt (all ours).
RECIPES = {
    "listops": (8, 64, 0.0, 50, 80_000, 0.001, 0.001),
    "text": (6, 128, 0.0, 16, 50_000, 0.001, 0.001),
    "retrieval": (6, 128, 0.0, 64, 50_000, 0.001, 0.001),
    "image": (6, 256, 0.1, 50, 180_000, 0.001, 0.001),
    "pathfinder": (6, 128, 0.0, 64, 500_000, 0.001, 0.001),
    "pathx": (6, 128, 0.0, 16, 500_000, 0.0005, 0.0001),
}


def get_config(task: str):
    """Our recipe for a task."""
    layers, d_model, dropout, batch, steps, lr, dt_min = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="h3",
        scaffold="mlp",
        d_model=d_model,
        layers=layers,
        norm="layer",
        prenorm=True,
        final_norm=True,
        dropout=dropout,
        tie_dropout=True,
        pooling="mean",
        paper_padding="nowhere",
    )
    config.mixer.update(
        state_size=64,
        shift_size=64,
        init="lin",
        dt_min=dt_min,
        dt_max=0.1,
        discretization="bilinear",
        bidirectional=True,
    )
    config.scaffold.update(width=0)
    config.optimizer.update(lr=lr, ssm_lr=lr, weight_decay=0.05, schedule="cosine", warmup=0.1, clip_norm=1.0)
    config.train.update(batch_size=batch, published_steps=steps, evaluations=50)
    config.report.update(title="H3", bibtex=BIBTEX, published_row="", published_source="")
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "h3", *sys.argv[1:]]))
