"""Retention: the mixer of RetNet, linear attention with one fixed decay per head and rotary positions."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.matrix_memory import MemoryCell, Sizes, memory_sizes
from ssm_bench.network.mixer import Traits


class Retention(RecurrentMixer):
    """For each head: S_t = gamma S_{t-1} + k_t v_t^T and o_t = S_t^T q_t / sqrt(m), with rotary positions in q and k.

    The decay of head i is fixed, gamma = 1 - 2^(-5 - i), so its time constant is about 2^(5 + i) positions. The output
    is W_o (RMS norm(o_t) * silu(W_g x_t)), with a norm for each head. A bidirectional layer adds a second set of
    parameters that reads from the end. Cost: O(b l h (c + m)) operations in addition to the projections, with heads of
    m keys and chunks of c = 64.

    It is a mixer of its own instead of an option of `gla`: the decay has no parameters, and positions are rotary.

    Source: Sun et al. 2023, "Retentive Network: A Successor to Transformer for Large Language Models" (arXiv
    2307.08621).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        expand_k: float = 1.0,
        expand_v: float = 2.0,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            heads: heads; must divide the widths of keys and of values, with an even number of keys per head.
            expand_k: width of all queries and of all keys, over h.
            expand_v: width of all values, over h.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes.
        """
        sizes = memory_sizes(d_model, heads, expand_k, expand_v)
        if sizes.keys // heads % 2:
            raise ArgumentError("heads", f"must have an even number of keys each; got {heads} for {sizes.keys} keys")
        super().__init__(lambda: RetentionCell(sizes, rngs), bidirectional=bidirectional)


class RetentionCell(MemoryCell):
    """The layer in one direction, with its parameters."""

    def __init__(self, sizes: Sizes, rngs: nnx.Rngs):
        """Creates the projections of `MemoryCell`."""
        super().__init__(sizes, gate=jax.nn.silu, rngs=rngs)

    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: Float[Array, "b heads m d"],
    ) -> tuple[Float[Array, "b l heads d"], Float[Array, "b heads m d"]]:
        """Linear attention with fixed decays.

        Positions count from the start of the chunk, and the memory is turned to the start of the next one: products
        depend on distances only, and no angle grows with the length of a stream.
        """
        length, heads, size = k.shape[1:]
        q, k = (ops.rotary(t, jnp.arange(length), turned=size) for t in (q, k))
        log_decay = np.log1p(-(2.0 ** -(5.0 + np.arange(heads))))
        log_decay = jnp.broadcast_to(jnp.asarray(log_decay, memory.dtype)[:, None], (*k.shape[:3], 1))
        y, memory = ops.gated_linear_attention(q * size**-0.5, k, v, log_decay, state=memory)
        # Its keys are the axis before the last; `rotary` takes them last, and positions on axis 1.
        by_value = jnp.moveaxis(memory, -1, 1)
        turned = ops.rotary(by_value, jnp.full(by_value.shape[1], -length), turned=size)
        return y, jnp.moveaxis(turned, 1, -1)
