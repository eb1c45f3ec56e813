"""LongConv: a convolution whose kernel is a table of parameters, as long as the sequence."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.layers import dropout, split_key
from ssm_bench.network.long_convolution import LongConvolution
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, OutputMatrix

INITS = ("random", "double_exp")


class LongConv(LongConvolution):
    """y = squash(K) * u + D u with squash(k) = sign(k) max(|k| - threshold, 0), a kernel for each channel.

    A bidirectional layer has a second kernel, which runs backward and starts one step ahead. Cost: O(b l h log l)
    operations by FFT, and one parameter for each channel and tap.

    Source: Fu et al. 2023, "Simple hardware-efficient long convolutions for sequence modeling" (arXiv 2302.06646).
    """

    traits = Traits(parametrization="LTI", discretization="none", structure="SISO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        threshold: float = 0.003,
        kernel_dropout: float = 0.0,
        init: str = "random",
        window: int = 0,
        bidirectional: bool = True,
        max_length: int = 1024,
        rngs: nnx.Rngs,
    ):
        """Creates the kernels (1 or 2, h, window) and D (h).

        Args:
            d_model: width h.
            threshold: what the squashing takes off the size of each tap, at least 0.
            kernel_dropout: rate on the taps in training.
            init: "random", normal with standard deviation 0.002; "double_exp", normal with 0.02, decaying in time at
                rates that grow from channel to channel.
            window: taps of each kernel, positions seen to each side, the present one included; 0: all.
            bidirectional: convolve in both directions.
            max_length: positions of the longest sequence.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, a negative threshold or window, or an impossible rate.
        """
        if init not in INITS:
            raise unknown_choice("init", init, INITS)
        if threshold < 0:
            raise ArgumentError("threshold", f"must be at least 0; got {threshold}")
        if window < 0:
            raise ArgumentError("window", f"must be at least 0; got {window}")
        taps = min(window or max_length, max_length)
        if not 0 <= kernel_dropout < 1:
            raise ArgumentError("kernel_dropout", f"must lie in [0, 1); got {kernel_dropout}")
        drawn = jax.random.normal(rngs.params(), (2 if bidirectional else 1, d_model, taps))
        scale = np.full((d_model, taps), 0.002)
        if init == "double_exp":
            rates = (d_model // 2) ** (np.arange(d_model) / d_model)
            scale = 0.02 * np.exp(-rates[:, None] * np.arange(taps) / taps)
        # The kernel reads the outputs off a state that holds the past inputs.
        self.kernel = OutputMatrix(drawn * scale)
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.threshold = threshold
        self.kernel_dropout = kernel_dropout
        self.taps = taps
        self.causal = not bidirectional

    def _kernels(self, key: PRNGKeyArray | None) -> Array:
        kernel = self.kernel[...]
        squashed = jnp.sign(kernel) * jax.nn.relu(jnp.abs(kernel) - self.threshold)
        return dropout(squashed, self.kernel_dropout, split_key(key, 1)[0])
