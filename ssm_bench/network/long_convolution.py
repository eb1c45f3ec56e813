"""What mixers with an explicit convolution kernel share: a kernel for each channel, as long as the sequence."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import Feedthrough


class LongConvolution(Mixer):
    """y = kernel * u + D u for each channel; with two kernels also backward, from the next position on.

    A subclass creates `D` (h,), sets `causal` and `taps`, the length of its kernels, and makes the kernels. Step mode
    keeps the last taps - 1 inputs: there is no smaller state.
    """

    D: Feedthrough
    taps: int

    @abc.abstractmethod
    def _kernels(self, key: PRNGKeyArray | None) -> Array:
        """The kernels (1 or 2, h, taps): forward, and backward if there is one; `key` for dropout, or None."""

    def _forward(self, kernels: Array) -> Array:
        # D is one more tap, of the present input: so it costs no pass over the activations.
        return kernels[0].at[:, 0].add(self.D[...])

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), full sequences."""
        kernels = self._kernels(key)
        if self.causal:
            return ops.causal_conv(x, self._forward(kernels))
        return ops.bidirectional_conv(x, self._forward(kernels), kernels[1])

    def initial_state(self, batch: int) -> Float[Array, "{batch} before h"]:
        """The inputs before the first step: zeros (b, taps - 1, h)."""
        if not self.causal:
            return super().initial_state(batch)
        return jnp.zeros((batch, self.taps - 1, self.D.shape[0]), self.D[...].dtype)

    def extend(
        self, x: Float[Array, "b k h"], state: Float[Array, "b before h"]
    ) -> tuple[Float[Array, "b k h"], Float[Array, "b before h"]]:
        """A chunk (b, k, h) at once."""
        if not self.causal:
            return super().extend(x, state)
        read = jnp.concatenate([state.astype(x.dtype), x], 1)
        y = ops.causal_conv(read, self._forward(self._kernels(None)))
        return y[:, self.taps - 1 :], read[:, x.shape[1] :].astype(state.dtype)

    def step(
        self, x_t: Float[Array, "b h"], state: Float[Array, "b before h"]
    ) -> tuple[Float[Array, "b h"], Float[Array, "b before h"]]:
        """One step: (b, h) -> (b, h)."""
        if not self.causal:
            return super().step(x_t, state)
        read = jnp.concatenate([state.astype(x_t.dtype), x_t[:, None]], 1)
        y = jnp.einsum("blh,hl->bh", read, jnp.flip(self._forward(self._kernels(None)), -1))
        return y.astype(x_t.dtype), read[:, 1:].astype(state.dtype)

    @property
    def state_size(self) -> int:
        """Inputs that later outputs still need, in both directions together."""
        return (self.taps - 1) * self.D.shape[0] * (1 if self.causal else 2)
