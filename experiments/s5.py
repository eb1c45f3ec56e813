"""S5: one diagonal state space model with many inputs and outputs, by a parallel scan.

Paper:    Smith, Warrington, Linderman, "Simplified State Space Layers for Sequence Modeling", arXiv 2208.04933.
Run:      python experiments/s5.py --task text          (or: ssm-bench train --model s5 --task text)
Expected: ListOps 62.15, Text 89.31, Retrieval 91.40, Image 88.00, Pathfinder 95.33, Path-X 98.58 (the paper).
Cost:     steps of the whole schedule on one H100, padded to the longest, from the records under results/: Text 8 min,
          ListOps 10 min, Retrieval 40 min, Image 61 min, Pathfinder 75 min, Path-X 330 min.

The recipes are the scripts of lindermanlab/S5@3c18fdb (bin/run_experiments/run_lra_*.sh). Known deviations: under
the strict protocol Text holds a tenth of the training set out for validation and padding reaches nothing; the
cosine ends at the last step, where the authors' reaches zero one warm-up length before; the first step has the
warm-up's rate, where the authors' has the full one. Pathfinder: the published rate has not left chance in the steps
that we gave it, a smaller one has (docs/tasks/pathfinder.md).
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{smith2023s5,
  title = {Simplified State Space Layers for Sequence Modeling},
  author = {Smith, Jimmy T. H. and Warrington, Andrew and Linderman, Scott W.},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "blocks": 1}

#: What the authors call opt_config: the group of B. Lambda and dt keep the small rate without decay.
GROUP_OF_B = {"standard": "ssm", "BandCdecay": "ssm+decay", "BfastandCdecay": "global+decay"}

RECIPES = {
    "listops": {
        "layers": 8, "d_model": 128, "state_size": 16, "blocks": 8, "output_init": "lecun_normal",
        "activation": "half_glu2", "dropout": 0.0, "lr": 0.003, "ssm_lr": 0.001, "optimizer": "BfastandCdecay",
        "weight_decay": 0.04, "batch_size": 50, "steps": 76_800, "epochs": 40, "warmup_epochs": 1, "norm_decay": 0.95,
    },
    "text": {
        "layers": 6, "d_model": 256, "state_size": 192, "blocks": 12, "output_init": "lecun_normal",
        "activation": "half_glu2", "dropout": 0.1, "lr": 0.004, "ssm_lr": 0.001, "optimizer": "standard",
        "dt_global": True, "weight_decay": 0.07, "batch_size": 50, "steps": 17_500, "epochs": 35, "warmup_epochs": 0,
        "norm_decay": 0.95,
    },
    "retrieval": {
        "layers": 6, "d_model": 128, "state_size": 256, "blocks": 16, "output_init": "trunc_standard_normal",
        "activation": "half_glu1", "dropout": 0.0, "lr": 0.002, "ssm_lr": 0.001, "optimizer": "standard",
        "dt_global": True, "weight_decay": 0.05, "batch_size": 32, "steps": 91_920, "epochs": 20, "warmup_epochs": 1,
        "norm_decay": 0.95,
    },
    "image": {
        "layers": 6, "d_model": 512, "state_size": 384, "blocks": 3, "output_init": "lecun_normal",
        "activation": "half_glu1", "dropout": 0.1, "lr": 0.0045, "ssm_lr": 0.001, "optimizer": "BfastandCdecay",
        "clip_eigenvalues": True, "weight_decay": 0.07, "batch_size": 50, "steps": 225_000, "epochs": 250,
        "warmup_epochs": 1, "norm_decay": 0.95,
    },
    "pathfinder": {
        "layers": 6, "d_model": 192, "state_size": 256, "blocks": 8, "output_init": "trunc_standard_normal",
        "activation": "half_glu1", "dropout": 0.05, "lr": 0.0045, "ssm_lr": 0.0009, "optimizer": "standard",
        "weight_decay": 0.03, "batch_size": 64, "steps": 500_000, "epochs": 200, "warmup_epochs": 1, "norm_decay": 0.9,
    },
    "pathx": {
        "layers": 6, "d_model": 128, "state_size": 256, "blocks": 16, "output_init": "complex_normal",
        "activation": "half_glu1", "dropout": 0.0, "lr": 0.0018, "ssm_lr": 0.0006, "optimizer": "BandCdecay",
        "dt_min": 0.0001, "weight_decay": 0.06, "batch_size": 32, "steps": 375_000, "epochs": 75, "warmup_epochs": 1,
        "norm_decay": 0.9,
    },
}  # fmt: skip


def get_config(task: str):
    """The published recipe for a task."""
    recipe = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="s5",
        scaffold="glu",
        d_model=recipe["d_model"],
        layers=recipe["layers"],
        norm="batch",
        norm_decay=recipe["norm_decay"],
        prenorm=True,
        dropout=recipe["dropout"],
        tie_dropout=True,
        pooling="mean",
        encoder="linear" if task in ("image", "pathfinder", "pathx") else "one_hot",
    )
    config.mixer.update(
        state_size=recipe["state_size"],
        blocks=recipe["blocks"],
        output_init=recipe["output_init"],
        dt_min=recipe.get("dt_min", 0.001),
        dt_max=0.1,
        clip_eigenvalues=recipe.get("clip_eigenvalues", False),
        discretization="zoh",
        bidirectional=True,
    )
    config.scaffold.update(activation=recipe["activation"])
    config.optimizer.update(
        lr=recipe["lr"],
        ssm_lr=recipe["ssm_lr"],
        weight_decay=recipe["weight_decay"],
        schedule="cosine",
        warmup=recipe["warmup_epochs"] / recipe["epochs"],
    )
    config.optimizer.groups.update(
        input_matrix=GROUP_OF_B[recipe["optimizer"]],
        step_size="global+decay" if recipe.get("dt_global") else "ssm",
        # In the authors' code norms, biases and the encoder decay like everything else.
        exempt="global+decay",
    )
    config.train.update(batch_size=recipe["batch_size"], published_steps=recipe["steps"], evaluations=recipe["epochs"])
    config.report.update(
        title="S5",
        bibtex=BIBTEX,
        published_row="S5",
        published_source="arXiv 2403.16899 Table II",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "s5", *sys.argv[1:]]))
