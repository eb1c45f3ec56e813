"""Nyströmformer: attention through landmarks, at a cost linear in the length.

Paper:    Xiong et al., "Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention", arXiv 2102.03902.
Run:      python experiments/nystromformer.py --task listops    (or: ssm-bench train --model nystromformer ...)
Expected: ListOps 37.15, Text 65.52, Retrieval 79.56, Image 41.58, Pathfinder 70.94; Path-X was not run (the table of
          mlpen/Nystromformer@5689313).
Cost:     not measured yet.

The recipes are those of mlpen/Nystromformer@5689313 (LRA/code): two layers of 64 channels on every task, 64 landmarks,
a convolution with 35 taps. Path-X has batch and steps of LRA's Transformer (our choice).

Known deviations from the authors' code: segments divide the unpadded length of each document. The authors' segments
divide the padded length, with zeros in the padding, so outputs depend on the amount of padding. The pseudo-inverse is
initialized from the norms of each matrix; the authors use the largest norms in the batch, so outputs depend on the
other examples. A document of 64 positions or fewer gets exact attention. Pooling is the mean over unpadded positions;
the authors count padding as zeros. Keys have no bias, because it would have no effect. Padding is masked, but black
pixels are not. Text has 4,096 characters; the authors' data script truncates at 1,000 bytes. The head has a GELU
(authors: ReLU). Dense layers are initialized LeCun-normal (authors: uniform in +-1/sqrt(inputs)). The authors' schedule
starts at a 25th of the peak learning rate and moves Adam's first decay rate from 0.95 to 0.85 and back; here, the decay
rate is always 0.9. The authors train in mixed precision, with attention in float32.
"""

import sys

from ssm_bench.data import TaskSpec

BIBTEX = """@inproceedings{xiong2021nystromformer,
  title = {Nystr{\\"o}mformer: A {N}ystr{\\"o}m-Based Algorithm for Approximating Self-Attention},
  author = {Xiong, Yunyang and Zeng, Zhanpeng and Chakraborty, Rudrasis and Tan, Mingxing and Fung, Glenn and
            Li, Yin and Singh, Vikas},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year = {2021},
}"""

#: Options of the mixer at toy size.
TINY = {"landmarks": 4, "taps": 5}


def defaults(task: TaskSpec) -> dict:
    """Settings on every task; `RECIPES` changes them task by task."""
    return {
        "model": {
            "mixer": "nystrom",
            "scaffold": "mlp",
            "d_model": 64,
            "layers": 2,
            "dropout": 0.1,
            "embedding_std": 0.02,
            "encoder": "embedding",
            "final_norm": True,
            "head_width": 128,
            "input_dropout": 0.1,
            "norm": "layer",
            "paper_padding": "nowhere",
            "pooling": "mean",
            "positions": "learned",
            "prenorm": True,
            "tie_dropout": False,
        },
        "mixer": {"heads": 2, "bias": True, "inverse_steps": 6, "landmarks": 64, "taps": 35},
        "scaffold": {"width": 128},
        "optimizer": {
            "lr": 0.0001,
            "ssm_lr": 0.0001,
            "epsilon": 1e-06,
            "schedule": "linear",
            "warmup": 0.1,
            "weight_decay": 0.0,
            "groups": {"exempt": "global+decay"},
        },
        "train": {"batch_size": 32, "evaluations": 20},
        "report": {
            "bibtex": BIBTEX,
            "published_row": "Nystromformer",
            "published_source": "Xiong et al. 2021; mlpen/Nystromformer@5689313, LRA table",
            "title": "Nyströmformer",
        },
    }


#: LRA/code of mlpen/Nystromformer.
RECIPES = {
    "listops": {
        "optimizer": {"warmup": 1_000 / 5_000},
        "train": {"batch_size": 32, "published_steps": 5_000},
    },
    "text": {
        "optimizer": {"warmup": 8_000 / 20_000},
        "train": {"batch_size": 32, "published_steps": 20_000},
    },
    "retrieval": {
        "optimizer": {"warmup": 800 / 30_000},
        "train": {"batch_size": 32, "published_steps": 30_000},
    },
    "image": {
        "optimizer": {"warmup": 175 / 35_000},
        "train": {"batch_size": 256, "published_steps": 35_000},
    },
    "pathfinder": {
        "optimizer": {"warmup": 312 / 62_400},
        "train": {"batch_size": 256, "published_steps": 62_400},
    },
    "pathx": {  # ours; batch and steps: lra_benchmarks/pathfinder128
        "optimizer": {"warmup": 2_500 / 500_000},
        "train": {"batch_size": 64, "published_steps": 500_000},
    },
}


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "nystromformer", *sys.argv[1:]]))
