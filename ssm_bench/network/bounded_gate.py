"""Forget gates with a lower bound that is larger in higher layers, so that these remember longer."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from ssm_bench.network.parameters import Spectrum
from ssm_bench.ops.precision import widened


class LowerBound(nnx.Module):
    """f = gamma + (1 - gamma) sigmoid(z), with a bound gamma for each channel that starts at the depth of the layer.

    The bound of the first layer, of depth 0, is 0. Those of other layers are learned, each by itself.

    Source: Qin et al. 2023, "Hierarchically Gated Recurrent Neural Network" (arXiv 2311.04823), section 3.2. There the
    bounds of all layers are cumulative sums of one softmax over the layers: they start at the same values, and rise
    with the layer throughout.
    """

    def __init__(self, width: int, depth: float):
        """Creates the logit of gamma (width,), unless the depth is 0; it lies in [0, 1)."""
        self.logit = Spectrum(jnp.full(width, math.log(depth / (1 - depth)))) if depth else None

    def __call__(
        self, z: Float[Array, "*batch width"]
    ) -> tuple[Float[Array, "*batch width"], Float[Array, "*batch width"]]:
        """The forget gate f of z (..., width) and its logarithm, in float32 or better."""
        z = widened(z)
        if self.logit is None:
            return jax.nn.sigmoid(z), jax.nn.log_sigmoid(z)
        bound = jax.nn.sigmoid(self.logit[...])
        forget = bound + (1 - bound) * jax.nn.sigmoid(z)
        return forget, jnp.log(forget)
