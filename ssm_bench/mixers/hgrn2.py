"""HGRN2: gated linear attention whose keys are what its decays let go, with forget gates bounded from below."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float

from ssm_bench import ops
from ssm_bench.network.bounded_gate import LowerBound
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import RMSNorm
from ssm_bench.network.matrix_memory import MemoryCell, Sizes, memory_sizes
from ssm_bench.network.mixer import Traits


class HGRN2(RecurrentMixer):
    """For each head: S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T and o_t = S_t^T q_t / sqrt(m), with q_t = silu(W_q x_t).

    f_t = gamma + (1 - gamma) sigmoid(W_f x_t), one per key. The lower bound gamma is learned, 0 in the first layer
    and initially larger in higher ones. The output is W_o RMS norm(o_t), over all heads. A bidirectional layer adds a
    second set of parameters that reads from the end. Cost: O(b l h (c + m)) operations in addition to the
    projections, with heads of m keys and chunks of c = 16.

    Source: Qin et al. 2024, "HGRN2: Gated Linear RNNs with State Expansion" (arXiv 2404.07904).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="matrix product")

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        bidirectional: bool = False,
        depth: float = 0.0,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            heads: heads; must divide h. The authors' have 128 channels.
            bidirectional: read from both ends.
            depth: the part of the layers that lie below, in [0, 1): where the lower bound starts.
            rngs: random keys.

        Raises:
            UserError: heads that do not divide the width.
        """
        sizes = memory_sizes(d_model, heads, 1.0, 1.0)
        super().__init__(lambda: HGRN2Cell(sizes, depth, rngs), bidirectional=bidirectional)


class HGRN2Cell(MemoryCell):
    """The layer in one direction, with its parameters; the map of keys is that of the forget gates."""

    def __init__(self, sizes: Sizes, depth: float, rngs: nnx.Rngs):
        """Creates the projections of `MemoryCell` and the lower bound (h)."""
        super().__init__(sizes, norm=AllHeads(sizes.values), rngs=rngs)
        self.lower_bound = LowerBound(sizes.keys, depth)

    def recur(
        self,
        x: Float[Array, "b l h"],
        q: Float[Array, "b l heads m"],
        k: Float[Array, "b l heads m"],
        v: Float[Array, "b l heads d"],
        memory: Float[Array, "b heads m d"],
    ) -> tuple[Float[Array, "b l heads d"], Float[Array, "b heads m d"]]:
        """Decayed linear attention."""
        forget, log_forget = (t.reshape(k.shape) for t in self.lower_bound(k.reshape(x.shape)))
        q = jax.nn.silu(q) * q.shape[-1] ** -0.5
        return ops.gated_linear_attention(q, 1 - forget, v, log_forget, state=memory)


class AllHeads(RMSNorm):
    """An RMS norm of all heads together."""

    def __call__(
        self, x: Float[Array, "b l heads d"], mask: Bool[Array, "b l"] | None = None, *, train: bool = False
    ) -> Float[Array, "b l heads d"]:
        """(b, l, heads, d) -> (b, l, heads, d)."""
        return super().__call__(x.reshape(*x.shape[:2], -1)).reshape(x.shape)
