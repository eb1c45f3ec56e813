"""DeltaNet: a matrix memory per head that replaces the value stored under a key."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import Linear
from ssm_bench.network.matrix_memory import MemoryCell, Sizes, memory_sizes
from ssm_bench.network.mixer import Traits
from ssm_bench.ops.precision import widened


class DeltaNet(RecurrentMixer):
    """For each head: S_t = (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T and o_t = S_t^T q_t / sqrt(m).

    Queries, keys and values are SiLUs of short convolutions of linear maps of x; queries and keys have length 1.
    beta_t = sigmoid(W_beta x_t), one per head. The output is W_o RMS norm(o_t), with a norm for each head. A
    bidirectional layer adds a second set of parameters that reads from the end. Cost: O(b l h (c + m)) operations in
    addition to the projections, with heads of m keys and chunks of c = 32.

    Source: Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule over Sequence Length" (arXiv
    2406.06484).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        expand_k: float = 1.0,
        expand_v: float = 1.0,
        taps: int = 4,
        negative_eigenvalues: bool = False,
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
            negative_eigenvalues: twice beta, so that the eigenvalues of a step lie in (-1, 1) instead of (0, 1)
                (Grazzi et al. 2024, arXiv 2411.12537).
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes, or no taps.
        """
        sizes, largest = memory_sizes(d_model, heads, expand_k, expand_v), 2.0 if negative_eigenvalues else 1.0
        super().__init__(lambda: DeltaNetCell(sizes, taps, largest, rngs), bidirectional=bidirectional)


class DeltaNetCell(MemoryCell):
    """The layer in one direction, with its parameters."""

    def __init__(self, sizes: Sizes, taps: int, largest: float, rngs: nnx.Rngs):
        """Creates the projections of `MemoryCell` and that of beta, which lies below `largest`."""
        super().__init__(sizes, taps=taps, rngs=rngs)
        self.beta = Linear(sizes.width, sizes.heads, bias=False, rngs=rngs)
        self.largest = largest

    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: Float[Array, "b heads m d"],
    ) -> tuple[Float[Array, "b l heads d"], Float[Array, "b heads m d"]]:
        """The delta rule without decay."""
        beta = self.largest * jax.nn.sigmoid(widened(self.beta(x)))
        q, k = ops.unit_length(q) * q.shape[-1] ** -0.5, ops.unit_length(k)
        return ops.gated_delta_rule(q, k, v, beta, jnp.zeros_like(beta), state=memory)
