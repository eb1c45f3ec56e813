"""Gated linear attention: a matrix memory per head whose rows decay at rates that the input sets."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import Linear
from ssm_bench.network.matrix_memory import MemoryCell, Sizes, memory_sizes
from ssm_bench.network.mixer import Traits
from ssm_bench.ops.precision import widened


class GLA(RecurrentMixer):
    """For each head: S_t = diag(alpha_t) S_{t-1} + k_t v_t^T and o_t = S_t^T q_t / sqrt(m), alpha_t one factor per key.

    log alpha_t is a log-sigmoid, over a temperature, of a map of x_t of low rank. The output is W_o (RMS norm(o_t) *
    silu(W_g x_t)), with a norm for each head. A bidirectional layer adds a second set of parameters that reads from
    the end. Cost: O(b l h (c + m)) operations in addition to the projections, with heads of m keys and chunks of c =
    16.

    Source: Yang et al. 2024, "Gated Linear Attention Transformers with Hardware-Efficient Training" (arXiv
    2312.06635).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        expand_k: float = 0.5,
        expand_v: float = 1.0,
        rank: int = 16,
        temperature: float = 16.0,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            heads: heads; must divide the widths of keys and of values.
            expand_k: width of all queries and of all keys, over h.
            expand_v: width of all values, over h.
            rank: rank of the map to the decays, at least 1.
            temperature: what the log-sigmoid is divided by, above 0: the larger, the slower the decay.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes, or a temperature that is not positive.
        """
        sizes = memory_sizes(d_model, heads, expand_k, expand_v)
        if rank < 1:
            raise ArgumentError("rank", f"must be at least 1; got {rank}")
        if temperature <= 0:
            raise ArgumentError("temperature", f"must be above 0; got {temperature}")
        super().__init__(lambda: GLACell(sizes, rank, temperature, rngs), bidirectional=bidirectional)


class GLACell(MemoryCell):
    """The layer in one direction, with its parameters."""

    def __init__(self, sizes: Sizes, rank: int, temperature: float, rngs: nnx.Rngs):
        """Creates the projections of `MemoryCell` and the map to the decays."""
        super().__init__(sizes, gate=jax.nn.silu, rngs=rngs)
        self.decay_in = Linear(sizes.width, rank, bias=False, rngs=rngs)
        self.decay_out = Linear(rank, sizes.keys, rngs=rngs)
        self.temperature = temperature

    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: Float[Array, "b heads m d"],
    ) -> tuple[Float[Array, "b l heads d"], Float[Array, "b heads m d"]]:
        """Decayed linear attention."""
        logits = widened(self.decay_out(self.decay_in(x))).reshape(k.shape)
        log_decay = jax.nn.log_sigmoid(logits) / self.temperature
        return ops.gated_linear_attention(q * q.shape[-1] ** -0.5, k, v, log_decay, state=memory)
