"""Linear attention: the mixer of the Linear Transformer, with features elu(x) + 1."""

from flax import nnx
from jaxtyping import Array, Bool, Float

from ssm_bench import ops
from ssm_bench.network.feature_attention import FeatureAttention
from ssm_bench.network.mixer import Traits


class LinearAttention(FeatureAttention):
    """For each head y_i = sum_j (phi(q_i) . phi(k_j)) v_j / sum_j phi(q_i) . phi(k_j), with phi(x) = elu(x) + 1.

    The sums over j are taken first: a matrix (d, d) and a vector (d) for each head of d channels. Cost per sequence:
    O(l h d) operations in addition to the projections. A causal one sums over j <= i, which step mode carries along.

    Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention"
    (arXiv 2006.16236), section 3.
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    # Where all weights are tiny, the output goes to zero, as in the authors' code.
    epsilon = 1e-6

    def __init__(self, d_model: int, *, heads: int = 4, width: int = 0, bidirectional: bool = True, rngs: nnx.Rngs):
        """Creates the projections.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together, and of all values; 0: h.
            bidirectional: False: a position sees itself and earlier ones only.
            rngs: random keys.

        Raises:
            UserError: a negative width, or heads that do not divide it.
        """
        super().__init__(d_model, heads=heads, width=width, bidirectional=bidirectional, rngs=rngs)

    @property
    def features(self) -> int:
        """As many as a head has channels."""
        return self.size

    def query_features(self, q: Float[Array, "b l n d"]) -> Float[Array, "b l n d"]:
        """elu(q) + 1."""
        return ops.elu_features(q)

    def key_features(self, k: Float[Array, "b l n d"], mask: Bool[Array, "b l"] | None) -> Float[Array, "b l n d"]:
        """elu(k) + 1."""
        return ops.elu_features(k)
