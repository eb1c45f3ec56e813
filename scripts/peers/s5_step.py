"""The training step of lindermanlab/S5."""

# pyright: reportMissingImports=false
import sys
from functools import partial
from pathlib import Path

from timing import WARM, Cell, Timed, on_host, random_batch, time_jax

from ssm_bench.config import experiment


def measure(cell: Cell, clone: Path) -> Timed:
    """Builds the model as their train.py does, and times their train_step."""
    sys.path.insert(0, str(clone))
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import block_diag
    from s5.seq_model import BatchClassificationModel, RetrievalModel
    from s5.ssm import init_S5SSM
    from s5.ssm_init import make_DPLR_HiPPO
    from s5.train_helpers import create_train_state, train_step

    model, mixer, optimizer = cell.config.model, cell.config.mixer, cell.config.optimizer
    recipe = experiment("s5").RECIPES[cell.task]
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
            jax.random.PRNGKey(0),
            padded,
            cell.pairs,
            in_dim=max(1, cell.vocabulary),
            bsz=2,
            seq_len=32,
            weight_decay=optimizer.weight_decay,
            batchnorm=True,
            opt_config=recipe["optimizer"],
            ssm_lr=optimizer.ssm_lr,
            lr=optimizer.lr,
            dt_global=recipe.get("dt_global", False),
        )
    x, labels = random_batch(cell)
    inputs = (x, jnp.full((cell.rows,), float(cell.length))) if padded else x
    arguments = (jax.random.PRNGKey(2), inputs, labels[: cell.batch].astype(float), jnp.ones((cell.rows, cell.length)))
    found = time_jax(train_step, state, arguments, (network(training=True), True))
    notes = [WARM, "names that newer JAX and Flax dropped are replaced; nothing else is changed"]
    return Timed(found | cell.sizes(found["step_ms"], directions=2), notes)
