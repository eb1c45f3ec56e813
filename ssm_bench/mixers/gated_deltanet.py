"""Gated DeltaNet: the delta rule of DeltaNet with the decay of Mamba-2."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import Linear
from ssm_bench.network.matrix_memory import MemoryCell, Sizes, memory_sizes
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Spectrum, StepSize
from ssm_bench.ops.precision import widened


class GatedDeltaNet(RecurrentMixer):
    """For each head: S_t = alpha_t (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T and o_t = S_t^T q_t / sqrt(m).

    alpha_t = exp(-A softplus(w x_t + b)) and beta_t = sigmoid(W_beta x_t), one of each per head. Queries, keys and
    values are SiLUs of short convolutions of linear maps of x; queries and keys have length 1. The output is W_o (RMS
    norm(o_t) * silu(W_g x_t)), with a norm for each head. A bidirectional layer adds a second set of parameters that
    reads from the end. Cost: O(b l h (c + m)) operations in addition to the projections, with heads of m keys and
    chunks of c = 32.

    Source: Yang et al. 2025, "Gated Delta Networks: Improving Mamba2 with Delta Rule" (arXiv 2412.06464).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        expand_k: float = 0.75,
        expand_v: float = 1.5,
        taps: int = 4,
        negative_eigenvalues: bool = False,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            heads: heads; must divide the widths of keys and of values.
            expand_k: width of all queries and of all keys, over h.
            expand_v: width of all values, over h.
            taps: taps of the short convolutions, at least 1.
            negative_eigenvalues: twice beta, as in `deltanet`.
            dt_min: smallest initial step softplus(b).
            dt_max: largest initial step; log-uniform between, one per head.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes or steps, or no taps.
        """
        sizes, largest = memory_sizes(d_model, heads, expand_k, expand_v), 2.0 if negative_eigenvalues else 1.0
        super().__init__(
            lambda: GatedDeltaNetCell(sizes, taps, largest, (dt_min, dt_max), rngs), bidirectional=bidirectional
        )


class GatedDeltaNetCell(MemoryCell):
    """The layer in one direction, with its parameters."""

    def __init__(self, sizes: Sizes, taps: int, largest: float, steps: tuple[float, float], rngs: nnx.Rngs):
        """Creates the projections of `MemoryCell`, of beta and of step sizes; and log A, A uniform in [1, 16]."""
        super().__init__(sizes, taps=taps, gate=jax.nn.silu, rngs=rngs)
        width, heads = sizes.width, sizes.heads
        self.beta = Linear(width, heads, bias=False, rngs=rngs)
        self.log_decay = Spectrum(jnp.log(jax.random.uniform(rngs.params(), (heads,), minval=1.0, maxval=16.0)))
        self.dt_kernel = StepSize(jax.nn.initializers.lecun_normal()(rngs.params(), (width, heads)))
        self.dt_bias = StepSize(ops.softplus_step(rngs.params(), (heads,), *steps))
        self.largest = largest

    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: Float[Array, "b heads m d"],
    ) -> tuple[Float[Array, "b l heads d"], Float[Array, "b heads m d"]]:
        """The delta rule with decay."""
        step = jax.nn.softplus(widened(x @ self.dt_kernel[...].astype(x.dtype)) + self.dt_bias[...])
        beta = self.largest * jax.nn.sigmoid(widened(self.beta(x)))
        q, k = ops.unit_length(q) * q.shape[-1] ** -0.5, ops.unit_length(k)
        return ops.gated_delta_rule(q, k, v, beta, -jnp.exp(self.log_decay[...]) * step, state=memory)
