"""The training step of NicolasZucchet/minimal-LRU."""

# pyright: reportMissingImports=false
import sys
from functools import partial
from pathlib import Path

from timing import WARM, Cell, Timed, on_host, random_batch, time_jax


def measure(cell: Cell, clone: Path) -> Timed:
    """Builds the model as their train.py does, at the paper's sizes, and times their train_step."""
    sys.path.insert(0, str(clone))
    import jax
    import jax.numpy as jnp
    from lru.model import LRU, BatchClassificationModel
    from lru.train_helpers import create_train_state, train_step

    model, mixer, optimizer = cell.config.model, cell.config.mixer, cell.config.optimizer
    layer = partial(LRU, d_hidden=mixer.state_size, d_model=model.d_model, r_min=mixer.r_min, r_max=mixer.r_max)
    network = partial(
        BatchClassificationModel,
        lru=layer,
        d_output=cell.classes,
        d_model=model.d_model,
        n_layers=cell.layers,
        dropout=model.dropout,
        pooling="mean",
        norm="batch",
        prenorm=model.prenorm,
        multidim=1,
    )
    with on_host():
        state = create_train_state(
            network,
            jax.random.PRNGKey(0),
            in_dim=max(1, cell.vocabulary),
            batch_size=2,
            seq_len=32,
            weight_decay=optimizer.weight_decay,
            norm="batch",
            ssm_lr=optimizer.ssm_lr,
            lr=optimizer.lr,
        )
    x, labels = random_batch(cell)
    arguments = (jax.random.PRNGKey(2), x, labels, jnp.ones((cell.rows, cell.length)))
    found = time_jax(train_step, state, arguments, (network(training=True), "batch"))
    notes = [WARM, "sizes of the LRU paper's Table 9"]
    if cell.pairs:
        notes.append("the authors' code has no model for pairs: it classifies the documents of all pairs one by one")
    if mixer.bidirectional:
        notes.append("the authors' code reads in one direction only")
    if cell.config.scaffold.activation != "glu":
        notes.append("the authors' code has the whole GLU only")
    return Timed(found | cell.sizes(found["step_ms"], directions=1), notes)
