"""S6 (tuned): the architecture of s6 with what is known to help it, in both directions.

Paper:    Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752.
Run:      python experiments/s6_tuned.py --task text          (or: ssm-bench train --model s6_tuned --task text)
Expected: no published numbers; near it: B2S6, a selective model with block-wise biases, reaches ListOps 63.85,
          Text 88.32, Retrieval 91.44, Image 88.81, Pathfinder 95.93, Path-X 97.90 (Yu and Erichson, arXiv 2505.09022).
Cost:     not measured yet.

The recipes are ours, the question being how much of the row of S6 is its recipe. Drawn from B2S6 (its Table 5): depth,
width and batch; a small learning rate for step sizes, which it finds to steady selective models; complex states on
pixels, where it finds real ones to stop near half of the images. From S4, S5 and Mamba: both directions, token tables,
a warm-up, and no weight decay on A, D, step sizes, biases and norms. From Mamba-2: RMS norms, one of them behind the
gate, which keeps the branches bounded: with batch norm and without it a run on Text at a rate of 0.002 diverged.
Learning rates, clipping and lengths of the schedules are our choice. Known deviations from the row of S6: all of this,
16 states instead of 64, and an expansion of 1, since both directions have a scan each, whose cost is what a step costs.
"""

import math
import sys

from ssm_bench.config import base_config, experiment

#: Options of the mixer at toy size.
TINY = {"state_size": 4, "dt_rank": 2}

#: layers, d_model, dropout, batch, learning rate, weight decay, smallest step, complex states, steps.
RECIPES = {
    "listops": (8, 128, 0.0, 32, 0.001, 0.03, 0.001, False, 80_000),
    "text": (6, 256, 0.1, 16, 0.001, 0.05, 0.001, False, 50_000),
    "retrieval": (6, 128, 0.0, 60, 0.001, 0.03, 0.001, False, 50_000),
    "image": (6, 512, 0.1, 48, 0.001, 0.05, 0.001, True, 180_000),
    "pathfinder": (6, 256, 0.0, 48, 0.001, 0.03, 0.001, True, 400_000),
    "pathx": (6, 128, 0.0, 24, 0.0005, 0.03, 0.0001, True, 400_000),
}


def get_config(task: str):
    """Our recipe for a task."""
    layers, d_model, dropout, batch, lr, decay, dt_min, complex_states, steps = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="s6",
        scaffold="mamba",
        d_model=d_model,
        layers=layers,
        norm="rms",
        prenorm=True,
        final_norm=True,
        dropout=dropout,
        tie_dropout=True,
        pooling="mean",
    )
    config.mixer.update(
        state_size=16,
        complex_states=complex_states,
        dt_rank=math.ceil(d_model / 16),
        dt_min=dt_min,
        dt_max=0.1,
        bidirectional=True,
    )
    config.scaffold.update(expand=1.0, taps=4, norm_gated=True)
    config.optimizer.update(lr=lr, ssm_lr=0.1 * lr, weight_decay=decay, schedule="cosine", warmup=0.1, clip_norm=1.0)
    config.optimizer.groups.update(spectrum="ssm", step_size="ssm", feedthrough="global", exempt="global")
    config.train.update(batch_size=batch, published_steps=steps, evaluations=50)
    config.report.update(title="S6 (tuned)", bibtex=experiment("mamba").BIBTEX)
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "s6_tuned", *sys.argv[1:]]))
