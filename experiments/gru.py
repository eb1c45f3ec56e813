"""GRU: the gated recurrent unit, a nonlinear baseline.

Paper:    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
          arXiv 1406.1078.
Run:      python experiments/gru.py --task text          (or: ssm-bench train --model gru --task text)
Expected: no published numbers on these tasks.
Cost:     training steps of the whole schedule on one H200, from the records under results/: Text 57 min.
          A step in time waits for the one before it.

The recipes are ours: widths, batches, dropout and weight decay of the LRU (arXiv 2303.06349, Table 9) with a third of
its layers and a part of its steps, because they are slow; the small rate, the clipped gradients and one direction are
what recurrent networks are usually trained with. Known deviations: the paper has neither residual blocks nor these
tasks; the reset gate comes after the matrix product, as in cuDNN.
"""

import sys

from ssm_bench.config import base_config

BIBTEX = """@inproceedings{cho2014gru,
  title = {Learning Phrase Representations using {RNN} Encoder-Decoder for Statistical Machine Translation},
  author = {Cho, Kyunghyun and van Merri{\\"e}nboer, Bart and Gulcehre, Caglar and Bahdanau, Dzmitry and
            Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua},
  booktitle = {Empirical Methods in Natural Language Processing},
  year = {2014},
}"""

#: Options of the mixer at toy size.
TINY = {"state_size": 0}

#: d_model, steps, batch, dropout (all ours).
RECIPES = {
    "listops": (128, 40_000, 32, 0.0),
    "text": (256, 25_000, 32, 0.1),
    "retrieval": (128, 50_000, 64, 0.1),
    "image": (512, 90_000, 50, 0.1),
    "pathfinder": (192, 125_000, 64, 0.0),
    "pathx": (128, 62_500, 32, 0.0),
}


def get_config(task: str):
    """Our recipe for a task."""
    d_model, steps, batch, dropout = RECIPES[task]
    config = base_config(task)
    config.model.update(
        mixer="gru",
        scaffold="glu",
        d_model=d_model,
        layers=2,
        norm="layer",
        prenorm=True,
        final_norm=True,
        dropout=dropout,
        tie_dropout=True,
        pooling="mean",
        embedding_std=d_model**-0.5,
        paper_padding="nowhere",
    )
    config.mixer.update(state_size=0, bidirectional=False)
    config.scaffold.update(activation="glu")
    config.optimizer.update(lr=0.001, ssm_lr=0.001, weight_decay=0.05, schedule="cosine", warmup=0.1, clip_norm=1.0)
    config.train.update(batch_size=batch, published_steps=steps, evaluations=50)
    config.report.update(title="GRU", bibtex=BIBTEX, published_row="", published_source="")
    return config


if __name__ == "__main__":
    from ssm_bench.cli import main

    sys.exit(main(["train", "--model", "gru", *sys.argv[1:]]))
