"""The training step of NicolasZucchet/minimal-LRU, timed or trained."""

# pyright: reportMissingImports=false
import sys
from functools import partial
from pathlib import Path
from typing import Any

from timing import WARM, Cell, findings, on_host, random_batch, time_jax, without_bars

from ssm_bench.bench.recording import Findings
from ssm_bench.errors import UserError

SIZES = "sizes of the LRU paper's Table 9"


def build(cell: Cell, clone: Path, key: Any) -> tuple[Any, Any]:
    """Their model, at the paper's sizes, and its training state, made as their train.py does.

    Args:
        key: of the parameters, a JAX key.
    """
    sys.path.insert(0, str(clone))
    without_bars()
    from lru.model import LRU, BatchClassificationModel
    from lru.train_helpers import create_train_state

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
            key,
            in_dim=max(1, cell.vocabulary),
            batch_size=2,
            seq_len=32,
            weight_decay=optimizer.weight_decay,
            norm="batch",
            ssm_lr=optimizer.ssm_lr,
            lr=optimizer.lr,
        )
    return network, state


def measure(cell: Cell, clone: Path) -> Findings:
    """Times their train_step."""
    import jax
    import jax.numpy as jnp

    network, state = build(cell, clone, jax.random.PRNGKey(0))
    from lru.train_helpers import train_step

    x, labels = random_batch(cell)
    arguments = (jax.random.PRNGKey(2), x, labels, jnp.ones((cell.rows, cell.length)))
    found = time_jax(train_step, state, arguments, (network(training=True), "batch"))
    notes = [WARM, SIZES]
    if cell.pairs:
        notes.append("the authors' code has no model for pairs: it classifies the documents of all pairs one by one")
    return findings(found | cell.sizes(found["step_ms"], directions=1), [*notes, *_missing(cell)])


def _missing(cell: Cell) -> list[str]:
    """What the authors' code lacks of our recipe."""
    notes = []
    if cell.config.mixer.bidirectional:
        notes.append("the authors' code reads in one direction only")
    if cell.config.scaffold.activation != "glu":
        notes.append("the authors' code has the whole GLU only")
    return notes


def trainee(cell: Cell, clone: Path, schedule: Any, seed: int) -> Any:
    """Their model with their train_epoch and eval_step; see `peer_training.Trainee`.

    Raises:
        UserError: the task has pairs of documents, for which they have no model.
    """
    import jax
    from jax_trainee import JaxTrainee

    if cell.pairs:
        raise UserError(f"minimal-LRU has no model for pairs of documents, which {cell.task} has")
    with on_host():
        initial, train_key = jax.random.split(jax.random.PRNGKey(seed))
        network, state = build(cell, clone, initial)
    import lru.train_helpers as helpers

    found = JaxTrainee(helpers, network, state, train_key, cell, schedule, norm="batch", options=(), lr_min=1e-7)
    found.notes = [SIZES, "padding is pooled and normalized with the rest, as in the authors' code", *_missing(cell)]
    return found
