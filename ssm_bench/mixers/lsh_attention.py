"""LSH attention: the mixer of the Reformer, softmax attention among positions with similar queries."""

from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits, WholeMixer

#: Numbers in the rotations R of a layer.
LARGEST_ROTATIONS = 2**27


class LSHAttention(WholeMixer):
    """Multi-head attention y_i = softmax over j in S(i) of (q_i . k_j) v_j, k_j = q_j / |q_j| (Kitaev et al. 2020).

    S(i) are the positions next to i when all are sorted by the bucket of their query, argmax of [q R, -q R] for a
    random R: those of its chunk and of the chunk before, without i itself. Several rounds, each with its own R, share
    the softmax. Cost per sequence: O(l chunk rounds h) operations and a sort. The paper's reversible layers save
    memory in training and compute the same function; they concern the network around a mixer and are not here.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 4,
        width: int = 0,
        chunk: int = 64,
        buckets: int = 10,
        rounds: int = 1,
        seed: int = 0,
        rngs: nnx.Rngs,
    ):
        """Creates the projections; one serves queries and keys.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            chunk: positions in a chunk, at least 1.
            buckets: an even number, at least 2.
            rounds: number of hashes, at least 1.
            seed: of the rotations R, at least 0: the same in every layer and run.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, or an option out of range.
        """
        width = width_of_heads(width, d_model, heads)
        if buckets < 2 or buckets % 2:
            raise ArgumentError("buckets", f"must be an even number from 2; got {buckets}")
        if width * buckets * rounds > LARGEST_ROTATIONS:
            raise ArgumentError(
                "buckets",
                f"times rounds times the width {width} must be at most {LARGEST_ROTATIONS}, "
                f"because rotations are drawn on the host; got buckets {buckets} and rounds {rounds}",
            )
        for option, value, least in (("chunk", chunk, 1), ("rounds", rounds, 1), ("seed", seed, 0)):
            if value < least:
                raise ArgumentError(option, f"must be at least {least}; got {value}")
        self.query = Linear(d_model, width, bias=False, rngs=rngs)
        self.values = Linear(d_model, width, bias=False, rngs=rngs)
        self.out = Linear(width, d_model, bias=False, rngs=rngs)
        self.heads = heads
        self.chunk = chunk
        self.buckets = buckets
        self.rounds = rounds
        self.seed = seed

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padded positions are sorted behind all others and get no weight."""
        q, v = (y.reshape(*x.shape[:2], self.heads, -1) for y in (self.query(x), self.values(x)))
        y = ops.lsh_attention(
            q,
            v,
            chunk=self.chunk,
            buckets=self.buckets,
            rounds=self.rounds,
            seed=self.seed,
            lengths=None if mask is None else mask.sum(-1),
        )
        return self.out(y.reshape(*x.shape[:2], -1))
