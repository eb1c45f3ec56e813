"""S4D: diagonal state space models, one per channel, by FFT convolution.

Paper:    Gu, Gupta, Goel, Ré, "On the Parameterization and Initialization of Diagonal State Space Models",
          arXiv 2206.11893.
Run:      python experiments/s4d.py --task text          (or: ssm-bench train --model s4d --task text)
Expected: ListOps 60.52, Text 87.34, Retrieval 91.09, Image 88.19, Pathfinder 93.96, Path-X 92.80 (the paper).
Cost:     training steps of the whole schedule on one H100, from the records under results/: Text 17 min.

The recipes are the v3 files of state-spaces/s4@e757cef (configs/experiment/lra/old/v3-s4-*.yaml) with the diagonal
kernel, as in the paper. The published row takes the best of three initialisations for each task, and so does this
file: Lin on ListOps and Pathfinder, Inv on Text, Retrieval and Path-X, LegS on Image. Which rule of discretisation gave
the numbers is not stated there; zero-order hold is ours, the default of the authors' later code, and so is the B of
LegS, HiPPO's (cut at 2), where v3 starts it at 1. Known deviations: under the strict protocol Text holds a tenth of the
training set out for validation and padding reaches nothing; dense layers start LeCun-normal, where PyTorch's start
uniform.
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{gu2022s4d,
  title = {On the Parameterization and Initialization of Diagonal State Space Models},
  author = {Gu, Albert and Gupta, Ankit and Goel, Karan and R{\\'e}, Christopher},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 16, "copies": 0}

#: "dict" is what the authors' files call a dictionary of rates: A and B have the small one, dt and C the global one.
#: "scalar": all of the kernel has the small rate. Only C decays in either.
RATES = {
    "dict": {"spectrum": "ssm", "input_matrix": "ssm", "step_size": "global", "output_matrix": "global+decay"},
    "scalar": {"spectrum": "ssm", "input_matrix": "ssm", "step_size": "ssm", "output_matrix": "ssm+decay"},
}

RECIPES = {
    "listops": {
        "init": "lin", "layers": 8, "d_model": 128, "norm": "batch", "prenorm": False, "dropout": 0.0,
        "batch_size": 50, "lr": 0.01, "ssm_lr": 0.001, "rates": "dict", "weight_decay": 0.05,
        "steps": 80_000, "warmup_steps": 1_000, "evaluations": 40,
    },
    "text": {
        "init": "inv", "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 16, "lr": 0.01, "ssm_lr": 0.001, "rates": "dict", "weight_decay": 0.05,
        "steps": 50_000, "warmup_steps": 1_000, "evaluations": 32,
    },
    "retrieval": {
        "init": "inv", "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 64, "lr": 0.01, "ssm_lr": 0.001, "rates": "dict", "weight_decay": 0.05,
        "steps": 50_000, "warmup_steps": 2_500, "evaluations": 20,
    },
    "image": {
        "init": "legs", "layers": 6, "d_model": 512, "norm": "layer", "prenorm": False, "dropout": 0.1,
        "batch_size": 50, "lr": 0.01, "ssm_lr": 0.001, "rates": "dict", "weight_decay": 0.05, "copies": 2,
        "steps": 180_000, "warmup_steps": 900, "evaluations": 200,
    },
    "pathfinder": {
        "init": "lin", "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 64, "lr": 0.004, "ssm_lr": 0.001, "rates": "scalar", "weight_decay": 0.03, "pooling": "last",
        "steps": 500_000, "warmup_steps": 2_500, "evaluations": 200,
    },
    "pathx": {
        "init": "inv", "layers": 6, "d_model": 256, "norm": "batch", "prenorm": True, "dropout": 0.0,
        "batch_size": 16, "lr": 0.0005, "ssm_lr": 0.0005, "rates": "scalar", "weight_decay": 0.05, "dt_min": 0.0001,
        "steps": 500_000, "warmup_steps": 10_000, "evaluations": 50,
    },
}  # fmt: skip


def get_config(task: str):
    """The published recipe for a task."""
    recipe = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="s4d",
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
        init=recipe["init"],
        copies=recipe.get("copies", 0),
        dt_min=recipe.get("dt_min", 0.001),
        dt_max=0.1,
        discretization="zoh",
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
    config.optimizer.groups.update(RATES[recipe["rates"]])
    config.train.update(
        batch_size=recipe["batch_size"], published_steps=recipe["steps"], evaluations=recipe["evaluations"]
    )
    config.report.update(
        title="S4D",
        bibtex=BIBTEX,
        published_row="S4D",
        published_source="arXiv 2403.16899 Table II",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "s4d", *sys.argv[1:]]))
