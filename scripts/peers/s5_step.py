"""The training step of lindermanlab/S5, timed or trained."""

# pyright: reportMissingImports=false
import sys
from functools import partial
from pathlib import Path
from typing import Any

from timing import WARM, Cell, findings, on_host, random_batch, time_jax, without_bars

from ssm_bench.bench.recording import Findings

REPLACED = "names that newer JAX and Flax dropped are replaced; nothing else is changed"

#: What the authors call opt_config, by the group of B.
OPT_CONFIGS = {"ssm": "standard", "ssm+decay": "BandCdecay", "global+decay": "BfastandCdecay"}


def build(cell: Cell, clone: Path, key: Any) -> tuple[Any, Any]:
    """Their model and its training state, made as their train.py does.

    Args:
        key: of the parameters, a JAX key.
    """
    sys.path.insert(0, str(clone))
    without_bars()
    import jax.numpy as jnp
    from jax.scipy.linalg import block_diag
    from s5.seq_model import BatchClassificationModel, RetrievalModel
    from s5.ssm import init_S5SSM
    from s5.ssm_init import make_DPLR_HiPPO
    from s5.train_helpers import create_train_state

    model, mixer, optimizer = cell.config.model, cell.config.mixer, cell.config.optimizer
    padded = cell.vocabulary > 0
    with on_host():
        half = mixer.state_size // mixer.blocks // 2
        eigenvalues, _, _, basis, _ = make_DPLR_HiPPO(2 * half)
        eigenvalues, basis = jnp.tile(eigenvalues[:half], mixer.blocks), basis[:, :half]
        ssm = init_S5SSM(
            H=model.d_model,
            P=mixer.state_size // 2,
            Lambda_re_init=eigenvalues.real,
            Lambda_im_init=eigenvalues.imag,
            V=block_diag(*[basis] * mixer.blocks),
            Vinv=block_diag(*[basis.conj().T] * mixer.blocks),
            C_init=mixer.output_init,
            discretization=mixer.discretization,
            dt_min=mixer.dt_min,
            dt_max=mixer.dt_max,
            conj_sym=True,
            clip_eigs=mixer.clip_eigenvalues,
            bidirectional=mixer.bidirectional,
        )
        classifier = RetrievalModel if cell.pairs else partial(BatchClassificationModel, mode="pool")
        network = partial(
            classifier,
            ssm=ssm,
            d_output=cell.classes,
            d_model=model.d_model,
            n_layers=cell.layers,
            padded=padded,
            activation=cell.config.scaffold.activation,
            dropout=model.dropout,
            prenorm=model.prenorm,
            batchnorm=True,
            bn_momentum=model.norm_decay,
        )
        state = create_train_state(
            network,
            key,
            padded,
            cell.pairs,
            in_dim=max(1, cell.vocabulary),
            bsz=2,
            seq_len=32,
            weight_decay=optimizer.weight_decay,
            batchnorm=True,
            opt_config=OPT_CONFIGS[optimizer.groups.input_matrix],
            ssm_lr=optimizer.ssm_lr,
            lr=optimizer.lr,
            dt_global=optimizer.groups.step_size == "global+decay",
        )
    return network, state


def measure(cell: Cell, clone: Path) -> Findings:
    """Times their train_step."""
    import jax
    import jax.numpy as jnp

    network, state = build(cell, clone, jax.random.PRNGKey(0))
    from s5.train_helpers import train_step

    x, labels = random_batch(cell)
    inputs = (x, jnp.full((cell.rows,), float(cell.length))) if cell.vocabulary else x
    arguments = (jax.random.PRNGKey(2), inputs, labels[: cell.batch].astype(float), jnp.ones((cell.rows, cell.length)))
    found = time_jax(train_step, state, arguments, (network(training=True), True))
    return findings(found | cell.sizes(found["step_ms"], directions=2), [WARM, REPLACED])


def trainee(cell: Cell, clone: Path, schedule: Any, seed: int) -> Any:
    """Their model with their train_epoch and eval_step; see `peer_training.Trainee`."""
    import jax
    from jax_trainee import JaxTrainee

    with on_host():
        initial, train_key = jax.random.split(jax.random.PRNGKey(seed))
        network, state = build(cell, clone, jax.random.split(initial)[0])
    import s5.train_helpers as helpers

    optimizer = cell.config.optimizer
    opt_config = OPT_CONFIGS[optimizer.groups.input_matrix]
    found = JaxTrainee(helpers, network, state, train_key, cell, schedule, norm=True, options=(opt_config,), lr_min=0.0)
    found.recipe |= {"opt_config": opt_config, "dt_global": optimizer.groups.step_size == "global+decay"}
    found.notes = [REPLACED]
    return found
