"""mLSTM: the matrix memory of xLSTM, with exponential input gates and a normalizer."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import LayerNorm, Linear
from ssm_bench.network.matrix_memory import MemoryCell, Sizes, memory_sizes
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Exempt
from ssm_bench.ops.precision import widened

# What the gates start from, as published with xLSTM 7B.
_INPUT_BIAS, _FORGET_BIAS = -10.0, (3.0, 6.0)


class MLSTM(RecurrentMixer):
    """For each head: C_t = f_t C_{t-1} + i_t k_t v_t^T and o_t = C_t^T q_t / max(|n_t . q_t|, 1).

    n_t = f_t n_{t-1} + i_t k_t. i_t is an exponential and f_t a sigmoid of affine maps of x_t, one number each per
    head; a stabilizer keeps C and n in range. Keys are divided by sqrt(m). The output is W_o (layer norm(o_t) *
    sigmoid(W_g x_t)), with a norm for each head. A bidirectional layer adds a second set of parameters that reads
    from the end. Cost: O(b l h (c + m)) operations in addition to the projections, with heads of m keys and chunks of
    c = 64.

    Sources: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory" (arXiv 2405.04517), section 2.3; the layer as
    in Beck et al. 2025, "xLSTM 7B" (arXiv 2503.13427).
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        expand_k: float = 0.5,
        expand_v: float = 1.0,
        soft_cap: float = 15.0,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            heads: heads; must divide the widths of keys and of values.
            expand_k: width of all queries and of all keys, over h.
            expand_v: width of all values, over h.
            soft_cap: bound c of both gates before their activation, as c tanh(z / c); above 0.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes, or a bound that is not positive.
        """
        sizes = memory_sizes(d_model, heads, expand_k, expand_v)
        if soft_cap <= 0:
            raise ArgumentError("soft_cap", f"must be above 0; got {soft_cap}")
        super().__init__(lambda: MLSTMCell(sizes, soft_cap, rngs), bidirectional=bidirectional)


class MLSTMCell(MemoryCell):
    """The layer in one direction, with its parameters."""

    def __init__(self, sizes: Sizes, soft_cap: float, rngs: nnx.Rngs):
        """Creates the projections of `MemoryCell` and those of the gates."""
        norm = LayerNorm(sizes.values // sizes.heads, epsilon=1e-6)
        super().__init__(sizes, gate=jax.nn.sigmoid, norm=norm, rngs=rngs)
        self.input_gate = Linear(sizes.width, sizes.heads, rngs=rngs)
        self.input_gate.bias = Exempt(jnp.full(sizes.heads, _INPUT_BIAS))
        self.forget_gate = Linear(sizes.width, sizes.heads, rngs=rngs)
        self.forget_gate.bias = Exempt(jnp.linspace(*_FORGET_BIAS, sizes.heads))
        self.soft_cap = soft_cap

    def initial_memory(self, batch: int) -> ops.MatrixMemory:
        """Zeros (b, heads, m, d + 1) at scale 1."""
        _, heads, keys, values = self.sizes
        zeros = jnp.zeros((batch, heads, keys // heads, values // heads + 1), self.out.kernel[...].dtype)
        return ops.MatrixMemory(zeros, zeros[..., 0, 0])

    @property
    def memory_size(self) -> int:
        """C, n and the stabilizer of all heads."""
        _, heads, keys, values = self.sizes
        return keys * (values // heads + 1) + heads

    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: ops.MatrixMemory,
    ) -> tuple[Float[Array, "b l heads d"], ops.MatrixMemory]:
        """The recurrence with bounded gates."""
        input_gate, forget_gate = self._bounded(self.input_gate(x)), self._bounded(self.forget_gate(x))
        return ops.mlstm(q, k * k.shape[-1] ** -0.5, v, input_gate, forget_gate, memory)

    def _bounded(self, z: Array) -> Array:
        return self.soft_cap * jnp.tanh(widened(z) / self.soft_cap)
