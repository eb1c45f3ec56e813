"""The mixer of the Performer: attention by features, random or not (FAVOR+)."""

from flax import nnx
from jaxtyping import Array, Bool, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.feature_attention import FeatureAttention
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Constant

KERNELS = ("relu", "softmax")


class Performer(FeatureAttention):
    """For each head y_i = sum_j (phi(q_i) . phi(k_j)) v_j / sum_j phi(q_i) . phi(k_j), with features of a kernel.

    "relu": phi(x) = relu(W x) + 0.001, or relu(x) + 0.001 without random features, as in the Long Range Arena.
    "softmax": phi(x) = exp(W z - |z|^2 / 2) + 1e-6 with z = x / d^(1/4), whose products have the weights of softmax
    attention as their mean over W, the 1e-6 aside. The rows of W (m, d) are standard normal, orthogonal in groups of d,
    drawn once for each layer and shared by its heads. Cost per sequence: O(l h m) operations in addition to the
    projections. A causal one sums over j <= i, which step mode carries along.

    Source: Choromanski et al. 2021, "Rethinking Attention with Performers" (arXiv 2009.14794), section 2.
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
        kernel: str = "relu",
        random_features: int = 0,
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates the projections and draws W.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together, and of all values; 0: h.
            kernel: one of KERNELS.
            random_features: rows m of W, at least 1 for "softmax"; 0, for "relu" only: no W.
            bidirectional: False: a position sees itself and earlier ones only.
            rngs: random keys.

        Raises:
            UserError: a negative width, heads that do not divide it, an unknown kernel or too few features.
        """
        if kernel not in KERNELS:
            raise unknown_choice("kernel", kernel, KERNELS)
        least = 1 if kernel == "softmax" else 0
        if random_features < least:
            raise ArgumentError(
                "random_features", f"must be at least {least} for the kernel {kernel}; got {random_features}"
            )
        super().__init__(d_model, heads=heads, width=width, bidirectional=bidirectional, rngs=rngs)
        drawn = ops.orthogonal_gaussian(rngs.params(), random_features, self.size) if random_features else None
        self.projection = None if drawn is None else Constant(drawn)
        self.kernel = kernel

    @property
    def features(self) -> int:
        """The rows of W, or the channels of a head without one."""
        return self.size if self.projection is None else self.projection.shape[0]

    def query_features(self, q: Float[Array, "b l n d"]) -> Float[Array, "b l n m"]:
        """The features of the kernel."""
        projection = None if self.projection is None else self.projection[...]
        if self.kernel == "relu":
            return ops.relu_features(q, projection)
        assert projection is not None
        return ops.softmax_query_features(q, projection)

    def key_features(self, k: Float[Array, "b l n d"], mask: Bool[Array, "b l"] | None) -> Float[Array, "b l n m"]:
        """The features of the kernel; for "softmax" the largest of a sequence is 1 where the mixer is not causal."""
        projection = None if self.projection is None else self.projection[...]
        if self.kernel == "relu":
            return ops.relu_features(k, projection)
        assert projection is not None
        return ops.softmax_key_features(k, projection, causal=self.causal, mask=mask)
