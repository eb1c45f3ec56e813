"""S4: structured state spaces, diagonal plus low rank, one per channel, by FFT convolution.

Paper:    Gu, Goel, Ré, "Efficiently Modeling Long Sequences with Structured State Spaces", arXiv 2111.00396.
Run:      python experiments/s4.py --task text          (or: ssm-bench train --model s4 --task text)
Expected: ListOps 59.60, Text 86.82, Retrieval 90.90, Image 88.65, Pathfinder 94.20, Path-X 96.35 (S4-LegS, as run
          again by its authors for arXiv 2206.12037).
Cost:     steps of the whole schedule on one H100, padded to the longest, from the records under results/:
          Text 12 min, ListOps 17 min, Retrieval 67 min, Image 60 min, Pathfinder 93 min, Path-X 475 min.

The recipes are the v3 files of state-spaces/s4@e757cef (configs/experiment/lra/old/v3-s4-*.yaml), which gave the
published row: HiPPO-LegS, bidirectional, untied but for two copies on Image. Path-X has the rate and warm-up of the
papers, 0.0005 and 10,000 steps, where the file kept there says 0.001 and 50,000. Known deviations: under the strict
protocol Text holds a tenth of the training set out for validation and padding reaches nothing; dense layers start
LeCun-normal, where PyTorch's start uniform.
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{gu2022s4,
  title = {Efficiently Modeling Long Sequences with Structured State Spaces},
  author = {Gu, Albert and Goel, Karan and R{\\'e}, Christopher},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "copies": 0}

#: Step sizes have the global rate where the authors' files give a dictionary of rates, and the small one of A, P and B
#: where they give one number. C has the global rate and decays: in their code of v3 (@d589d98) neither form reaches it;
#: since July 2023 the one number does.
RECIPES = {
    "listops": {
        "layers": 8, "d_model": 128, "norm": "batch", "prenorm": False, "dropout": 0.0,
        "batch_size": 50, "lr": 0.01, "ssm_lr": 0.001, "step_size": "global", "weight_decay": 0.05,
        "steps": 80_000, "warmup_steps": 1_000, "evaluations": 40,
    },
    "text": {
        "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 16, "lr": 0.01, "ssm_lr": 0.001, "step_size": "global", "weight_decay": 0.05,
        "steps": 50_000, "warmup_steps": 1_000, "evaluations": 32,
    },
    "retrieval": {
        "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 64, "lr": 0.01, "ssm_lr": 0.001, "step_size": "global", "weight_decay": 0.05,
        "steps": 50_000, "warmup_steps": 2_500, "evaluations": 20,
    },
    "image": {
        "layers": 6, "d_model": 512, "norm": "layer", "prenorm": False, "dropout": 0.1,
        "batch_size": 50, "lr": 0.01, "ssm_lr": 0.001, "step_size": "global", "weight_decay": 0.05, "copies": 2,
        "steps": 180_000, "warmup_steps": 900, "evaluations": 200,
    },
    "pathfinder": {
        "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 64, "lr": 0.004, "ssm_lr": 0.001, "step_size": "ssm", "weight_decay": 0.03, "pooling": "last",
        "steps": 500_000, "warmup_steps": 2_500, "evaluations": 200,
    },
    "pathx": {
        "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 16, "lr": 0.0005, "ssm_lr": 0.0005, "step_size": "ssm", "weight_decay": 0.05, "dt_min": 0.0001,
        "steps": 500_000, "warmup_steps": 10_000, "evaluations": 50,
    },
}  # fmt: skip


def get_config(task: str):
    """The published recipe for a task."""
    recipe = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="s4",
        scaffold="glu",
        d_model=recipe["d_model"],
        layers=recipe["layers"],
        norm=recipe["norm"],
        norm_decay=0.9,
        prenorm=recipe["prenorm"],
        final_norm=recipe["prenorm"],
        dropout=recipe["dropout"],
        tie_dropout=True,
        pooling=recipe.get("pooling", "mean"),
        # The authors' blocks zero what is padded; their batch norm counts it in.
        paper_padding="norms",
    )
    config.mixer.update(
        state_size=64,
        init="legs",
        copies=recipe.get("copies", 0),
        dt_min=recipe.get("dt_min", 0.001),
        dt_max=0.1,
        bidirectional=True,
    )
    config.scaffold.update(activation="glu")
    config.optimizer.update(
        lr=recipe["lr"],
        ssm_lr=recipe["ssm_lr"],
        weight_decay=recipe["weight_decay"],
        schedule="cosine",
        warmup=recipe["warmup_steps"] / recipe["steps"],
    )
    config.optimizer.groups.update(step_size=recipe["step_size"])
    config.train.update(
        batch_size=recipe["batch_size"], published_steps=recipe["steps"], evaluations=recipe["evaluations"]
    )
    config.report.update(
        title="S4",
        bibtex=BIBTEX,
        published_row="S4",
        published_source="arXiv 2403.16899 Table II",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "s4", *sys.argv[1:]]))
