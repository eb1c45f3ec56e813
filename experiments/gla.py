"""GLA: gated linear attention, a matrix memory per head with decays that depend on the input.

Paper:    Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient Training", arXiv 2312.06635.
Run:      python experiments/gla.py --task text          (or: ssm-bench train --model gla --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper does not use LRA, so the recipes are ours. The layer is the paper's: 4 heads, keys of half the width, decays
of rank 16 with a temperature of 16, a norm for each head, a SiLU gate. The block is that of a Transformer with RMS
norms and a gated MLP of width 8/3, causal, with a final norm. Batches, lengths and weight decay are those of
experiments/mamba2.py, with its cosine after a warm-up of a tenth at a learning rate of 0.001; gradients are clipped at
norm 1, as in the paper. The other models with a matrix memory per head (retnet, deltanet, gated_deltanet, mlstm, rwkv7,
hgrn2) use the same recipes.

Known deviations: the gated MLP has a GELU and biases; the paper's has a SiLU and none. Projections are initialized
LeCun-normal.
"""

import sys

from ssm_bench.data import TaskSpec
from ssm_bench.experiments import mamba2

BIBTEX = """@inproceedings{yang2024gated,
  title = {Gated Linear Attention Transformers with Hardware-Efficient Training},
  author = {Yang, Songlin and Wang, Bailin and Shen, Yikang and Panda, Rameswar and Kim, Yoon},
  booktitle = {International Conference on Machine Learning},
  year = {2024},
}"""

#: Options of the mixer at toy size.
TINY = {"heads": 2}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "gla",
            "scaffold": "gated_mlp",
            "d_model": 128,
            "layers": 4,
            "dropout": 0.0,
            "final_norm": True,
            "norm": "rms",
            "pooling": "mean",
            "prenorm": True,
        },
        "mixer": {"heads": 4, "bidirectional": False},
        "scaffold": {"mlp_expand": 8 / 3},
        "optimizer": {
            "lr": 0.001,
            "ssm_lr": 0.001,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "warmup": 0.1,
            "weight_decay": 0.05,
            "groups": {"spectrum": "global", "step_size": "global"},
        },
        "train": {"batch_size": 32},
        "report": {"bibtex": BIBTEX, "title": "GLA"},
    }


#: Our choices, those of Mamba-2.
RECIPES = mamba2.RECIPES


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "gla", *sys.argv[1:]]))
