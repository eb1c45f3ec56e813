"""Nyström attention: the mixer of the Nyströmformer."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.heads import width_of_heads
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits, WholeMixer

#: Steps of the iteration: each is traced, and its error is cubed in each, so that a few dozen are exact.
MOST_STEPS = 100


class Nystrom(WholeMixer):
    """y = softmax(Q K'^T) softmax(Q' K'^T)^+ softmax(Q' K^T) V + w * V per head, scores divided by sqrt(d).

    Row s of Q' and K' is a landmark: the mean of queries or keys over segment s of the true length. A few steps of an
    iteration stand for the pseudo-inverse, and w is one short centered convolution a head. An example of no more
    positions than landmarks gets softmax(Q K^T) V + w * V. Cost per sequence, with m landmarks: O(l m h + m^3 heads).
    Every output sees every input, so there is no step mode.

    Source: Xiong et al. 2021, "Nyströmformer: a Nyström-based algorithm for approximating self-attention"
    (arXiv 2102.03902).
    """

    traits = Traits(
        parametrization="nonlinear", discretization="none", structure="MIMO", implementation="matrix product"
    )

    def __init__(
        self,
        d_model: int,
        *,
        heads: int = 2,
        width: int = 0,
        landmarks: int = 64,
        inverse_steps: int = 6,
        taps: int = 35,
        bias: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates the projections and the convolution.

        Args:
            d_model: width h.
            heads: number of heads; must divide the width of the queries.
            width: width of all queries together; 0: h.
            landmarks: number of segments m.
            inverse_steps: of the iteration for the pseudo-inverse.
            taps: of the convolution of the values, odd; 0: no convolution.
            bias: biases in all projections but that of the keys, where it would change no output.
            rngs: random keys.

        Raises:
            UserError: a number out of range, a negative width, or heads that do not divide it.
        """
        width = width_of_heads(width, d_model, heads)
        if landmarks < 1:
            raise ArgumentError("landmarks", f"must be at least 1; got {landmarks}")
        if not 1 <= inverse_steps <= MOST_STEPS:
            raise ArgumentError("inverse_steps", f"must lie in 1..{MOST_STEPS}; got {inverse_steps}")
        if taps < 0 or (taps and taps % 2 == 0):
            raise ArgumentError("taps", f"must be odd, or 0 for no convolution; got {taps}")
        self.query = Linear(d_model, width, bias=bias, rngs=rngs)
        self.keys = Linear(d_model, width, bias=False, rngs=rngs)
        self.values = Linear(d_model, width, bias=bias, rngs=rngs)
        self.out = Linear(width, d_model, bias=bias, rngs=rngs)
        bound = taps**-0.5 if taps else 0.0
        kernel = jax.random.uniform(rngs.params(), (heads, taps), minval=-bound, maxval=bound) if taps else None
        self.kernel = None if kernel is None else nnx.Param(kernel)
        self.heads = heads
        self.landmarks = landmarks
        self.inverse_steps = inverse_steps

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h); padding is in no segment and gets no weight."""
        values = self.values(x)
        q, k, v = (t.reshape(*t.shape[:2], self.heads, -1) for t in (self.query(x), self.keys(x), values))
        lengths = None if mask is None else mask.sum(-1)
        y = ops.nystrom_attention(q, k, v, landmarks=self.landmarks, steps=self.inverse_steps, lengths=lengths)
        y = y.reshape(values.shape)
        if self.kernel is not None:
            # Padded values are the bias.
            y = y + self._convolved(values if mask is None else jnp.where(mask[..., None], values, 0))
        return self.out(y)

    def _convolved(self, values: Array) -> Array:
        """Each channel of a head by the head's kernel, of which the middle tap takes the present position."""
        assert self.kernel is not None
        kernel = jnp.repeat(self.kernel[...], values.shape[-1] // self.heads, axis=0)
        middle = kernel.shape[1] // 2
        ahead = jnp.pad(kernel[:, middle + 1 :], ((0, 0), (0, 1)))
        return ops.bidirectional_conv(values, jnp.flip(kernel[:, : middle + 1], -1), ahead)
