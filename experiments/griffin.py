"""Griffin: two blocks of Hawk, then one with local attention, and again.

Paper:    De et al., "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
          arXiv 2402.19427.
Run:      python experiments/griffin.py --task text          (or: ssm-bench train --model griffin --task text)
Expected: no published numbers on these tasks.
Cost:     not measured yet.

The paper has no LRA. The blocks are the paper's: RMS norms, gates in blocks, a recurrent width of 4/3, a gated MLP of
width 3, multi-query attention in heads of 128 channels over a window of 1024 positions, causal, a last norm. Ours:
depth and width (1.3 million parameters, 5.1 on Image); batch and steps, those of the LRU (arXiv 2303.06349, Table 9);
learning rate, warm-up, weight decay, dropout, and the mean over true positions. Known deviations: gates have 8 blocks,
where the paper's wider models have more; the token table is not scaled; the short convolution starts uniform in +-1/2;
on Image and Pathfinder the window is the whole sequence. On GPUs attention is computed in bfloat16.
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@misc{de2024griffin,
  title = {Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models},
  author = {De, Soham and Smith, Samuel L. and Fernando, Anushan and Botev, Aleksandar and Cristian-Muraru, George and
            Gu, Albert and Haroun, Ruba and Berrada, Leonard and Chen, Yutian and Srinivasan, Srivatsan and
            Desjardins, Guillaume and Doucet, Arnaud and Budden, David and Teh, Yee Whye and Pascanu, Razvan and
            De Freitas, Nando and Gulcehre, Caglar},
  year = {2024},
  eprint = {2402.19427},
  archiveprefix = {arXiv},
}"""

#: Options of the mixer at toy size.
TINY = {"blocks": 2}

#: d_model, heads, dropout, batch, learning rate, steps.
RECIPES = {
    "listops": (128, 1, 0.0, 32, 0.001, 80_000),
    "text": (128, 1, 0.1, 32, 0.001, 50_000),
    "retrieval": (128, 1, 0.1, 64, 0.001, 100_000),
    "image": (256, 2, 0.1, 50, 0.001, 180_000),
    "pathfinder": (128, 1, 0.0, 64, 0.001, 500_000),
    "pathx": (128, 1, 0.0, 32, 0.0005, 250_000),
}


def get_config(task: str):
    """Our recipe for a task."""
    d_model, heads, dropout, batch, lr, steps = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="rg_lru",
        scaffold="griffin",
        d_model=d_model,
        layers=6,
        norm="rms",
        prenorm=True,
        final_norm=True,
        dropout=dropout,
        tie_dropout=True,
        pooling="mean",
        paper_padding="nowhere",
    )
    config.mixer.update(blocks=8, init="griffin", r_min=0.9, r_max=0.999, bidirectional=False)
    config.scaffold.update(expand=4 / 3, taps=4, mlp_expand=3.0, heads=heads, window=1024)
    config.optimizer.update(
        lr=lr, ssm_lr=lr, weight_decay=0.05, schedule="cosine", warmup=0.1, clip_norm=1.0
    )
    config.train.update(batch_size=batch, published_steps=steps, evaluations=50)
    config.report.update(title="Griffin", bibtex=BIBTEX)
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "griffin", *sys.argv[1:]]))
