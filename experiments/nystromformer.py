"""Nyströmformer: attention through landmarks, at a cost linear in the length.

Paper:    Xiong et al., "Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention", arXiv 2102.03902.
Run:      python experiments/nystromformer.py --task listops    (or: ssm-bench train --model nystromformer ...)
Expected: ListOps 37.15, Text 65.52, Retrieval 79.56, Image 41.58, Pathfinder 70.94; Path-X was not run (the table of
          mlpen/Nystromformer@5689313).
Cost:     not measured yet.

The recipes are those of mlpen/Nystromformer@5689313 (LRA/code): two layers of 64 channels on every task, 64 landmarks,
a convolution of 35 taps. Path-X has batch and steps of the LRA's Transformer (ours). Known deviations: segments divide
the true length of each document, where theirs divide the padded one with zeros in the padding, so that an output
depends on it; the pseudo-inverse starts from the norms of each matrix, theirs from the largest in the batch, so that an
output depends on the others; a document of 64 positions or fewer gets exact attention; the mean runs over true
positions, theirs counts padding as zeros; keys have no bias, which would change nothing; black pixels are not masked,
padding is; Text has 4,096 characters, where their script for the data cuts at 1,000 bytes; the head has a GELU, theirs
a ReLU; dense layers start LeCun-normal, theirs uniform in +-1/sqrt(inputs). Their schedule starts at a 25th of the peak
rate and takes Adam's first decay rate from 0.95 to 0.85 and back, where it stays 0.9 here; they train in mixed
precision, with attention in float32.
"""

import sys

from ssm_bench.config import experiment

BIBTEX = """@inproceedings{xiong2021nystromformer,
  title = {Nystr{\\"o}mformer: A {N}ystr{\\"o}m-Based Algorithm for Approximating Self-Attention},
  author = {Xiong, Yunyang and Zeng, Zhanpeng and Chakraborty, Rudrasis and Tan, Mingxing and Fung, Glenn and
            Li, Yin and Singh, Vikas},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"landmarks": 4, "taps": 5}

#: batch, steps, warm-up steps.
RECIPES = {
    "listops": (32, 5_000, 1_000),
    "text": (32, 20_000, 8_000),
    "retrieval": (32, 30_000, 800),
    "image": (256, 35_000, 175),
    "pathfinder": (256, 62_400, 312),
    "pathx": (64, 500_000, 2_500),
}


def get_config(task: str):
    """The published recipe for a task."""
    batch, steps, warmup = RECIPES[task]
    config = experiment("transformer").get_config(task)
    config.model.update(
        mixer="nystrom",
        d_model=64,
        layers=2,
        dropout=0.1,
        input_dropout=0.1,
        embedding_std=0.02,
        positions="learned",
        pooling="mean",
        head_width=128,
    )
    config.mixer = {"heads": 2, "landmarks": 64, "inverse_steps": 6, "taps": 35, "bias": True}
    config.scaffold.update(width=128)
    config.optimizer.update(
        lr=1e-4,
        ssm_lr=1e-4,
        schedule="linear",
        warmup=warmup / steps,
        weight_decay=0.0,
        b2=0.999,
        epsilon=1e-6,
        clip_norm=0.0,
    )
    config.train.update(batch_size=batch, published_steps=steps)
    config.report.update(
        title="Nyströmformer",
        bibtex=BIBTEX,
        published_row="Nystromformer",
        published_source="Xiong et al. 2021; mlpen/Nystromformer@5689313, LRA table",
    )
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "nystromformer", *sys.argv[1:]]))
