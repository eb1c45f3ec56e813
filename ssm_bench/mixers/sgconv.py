"""SGConv: a convolution whose kernel joins pieces of doubling length and decaying size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from ssm_bench.errors import ArgumentError
from ssm_bench.network.long_convolution import LongConvolution
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Constant, Feedthrough, OutputMatrix


class SGConv(LongConvolution):
    """y = K * u + D u, where the kernel K = [K_0, K_1, ...] / Z joins n pieces.

    Piece i holds s numbers, stretched to s 2^(i-1) taps (the first to s) by linear interpolation. It is multiplied by
    decay^(n - 1 - i), so that the first is the largest; Z is the norm of the initial kernel of each channel. A
    bidirectional layer has a second kernel, which runs backward and starts one step ahead.
    Cost: O(b l h log l) operations by FFT, and O(s log(l / s)) parameters a channel.

    Source: Li et al. 2022, "What makes convolutional models great on long sequence modeling?" (arXiv 2210.09298).
    """

    traits = Traits(parametrization="LTI", discretization="none", structure="SISO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        piece: int = 64,
        decay: float = 2.0,
        bidirectional: bool = True,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the pieces (n, 1 or 2, h, s), their norm and D (h).

        Args:
            d_model: width h.
            piece: numbers s in each piece.
            decay: factor between pieces, at least 1.
            bidirectional: convolve in both directions.
            max_length: taps of the kernel: as many pieces as it takes.
            rngs: random keys.

        Raises:
            UserError: an empty piece, or pieces that grow.
        """
        if piece < 1:
            raise ArgumentError("piece", f"must be at least 1; got {piece}")
        if decay < 1:
            raise ArgumentError("decay", f"must be at least 1; got {decay}")
        count = 1 + max(0, math.ceil(math.log2(max_length / piece)))
        drawn = jax.random.normal(rngs.params(), (count, 2 if bidirectional else 1, d_model, piece))
        self.pieces = OutputMatrix(drawn)
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.decay = decay
        self.taps = max_length
        self.causal = not bidirectional
        self.norm = Constant(jnp.linalg.norm(self._joined(), axis=-1, keepdims=True))

    def _joined(self) -> Array:
        """The kernels before normalization, at their full length."""
        count, *shape, piece = self.pieces.shape
        stretched = [
            jax.image.resize(self.pieces[i], (*shape, piece * 2 ** max(0, i - 1)), "linear") for i in range(count)
        ]
        factors = np.power(self.decay, np.arange(count - 1, -1, -1.0))
        return jnp.concatenate([factor * part for factor, part in zip(factors, stretched, strict=True)], -1)

    def _kernels(self, key: PRNGKeyArray | None) -> Array:
        return (self._joined() / self.norm[...])[..., : self.taps]
