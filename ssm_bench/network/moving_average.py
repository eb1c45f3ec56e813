"""The multi-dimensional damped exponential moving average of Mega, and its complex form of Megalodon."""

import abc
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Inexact

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum


class MovingAverage(nnx.Module, abc.ABC):
    """s_t = a s_{t-1} + gain x_t, y_t = Re(sum over n of weight s_t) + omega x_t for each channel and direction.

    Both directions see the present step. Whole sequences are convolved with the impulse response by FFT, of which
    bidirectional ones may use the first `truncation` taps; a chunk runs the recurrence. A subclass creates `omega`
    (h,) and says the rest of the system.

    Source: Ma et al. 2022, "Mega" (arXiv 2209.10655), section 3.1.
    """

    omega: Feedthrough

    #: Real numbers that a state is made of.
    parts: ClassVar[int] = 1

    def __init__(self, state_size: int, *, bidirectional: bool, truncation: int):
        """Keeps the sizes.

        Raises:
            ArgumentError: no states, or a negative truncation.
        """
        if state_size < 1:
            raise ArgumentError("state_size", f"must be at least 1; got {state_size}")
        if truncation < 0:
            raise ArgumentError("truncation", f"must be at least 0; got {truncation}")
        self.states = state_size
        self.directions = 2 if bidirectional else 1
        # A causal average also runs as a recurrence, which has no last tap.
        self.truncation = truncation if bidirectional else 0

    @abc.abstractmethod
    def _system(self) -> tuple[Array, Array, Array]:
        """log a, the gain and the weight, each (directions h, n)."""

    def __call__(self, x: Float[Array, "b l h"]) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), whole sequences with zeros at padded positions."""
        length, width = x.shape[1:]
        log_a, gain, weight = self._system()
        taps = min(length, self.truncation or length)
        kernels = ops.sum_of_powers((weight * gain)[None], log_a, taps).reshape(-1, width, taps)
        # What the present input adds is one tap: it costs no pass over the activations.
        forward = kernels[0].at[:, 0].add(self.omega[...])
        if self.directions == 1:
            return ops.causal_conv(x, forward)
        # The backward kernel of the convolution starts one step ahead.
        forward = forward.at[:, 0].add(kernels[1, :, 0])
        return ops.bidirectional_conv(x, forward, jnp.pad(kernels[1, :, 1:], ((0, 0), (0, 1))))

    @property
    def state_size(self) -> int:
        """Real numbers carried in one direction."""
        return self.omega.shape[0] * self.states * self.parts

    def initial_state(self, batch: int) -> Inexact[Array, "{batch} h n"]:
        """Zeros (b, h, n)."""
        log_a = jax.eval_shape(lambda: self._system()[0])
        return jnp.zeros((batch, self.omega.shape[0], self.states), log_a.dtype)

    def extend(
        self, x: Float[Array, "b k h"], state: Inexact[Array, "b h n"]
    ) -> tuple[Float[Array, "b k h"], Inexact[Array, "b h n"]]:
        """A chunk (b, k, h) and the state before it, in one direction."""
        log_a, gain, weight = self._system()
        states = ops.linear_recurrence(None, gain * x[..., None], log_a=log_a, h0=state)
        y = jnp.real((states * weight).sum(-1)) + self.omega[...] * x
        return y.astype(x.dtype), states[:, -1].astype(state.dtype)


class DampedEMA(MovingAverage):
    """Real states with a = 1 - alpha delta, gain alpha beta and weight gamma / sqrt(n); alpha, delta in (0, 1)."""

    def __init__(self, width: int, *, state_size: int, bidirectional: bool = True, truncation: int = 0, rngs: nnx.Rngs):
        """Creates alpha, delta, beta and gamma (directions h, n), and omega (h).

        Raises:
            ArgumentError: as `MovingAverage`.
        """
        super().__init__(state_size, bidirectional=bidirectional, truncation=truncation)
        shape = (self.directions * width, state_size)
        self.alpha = Spectrum(0.2 * jax.random.normal(rngs.params(), shape))
        self.delta = Spectrum(0.2 * jax.random.normal(rngs.params(), shape))
        signs = (-1.0) ** np.arange(state_size)
        self.beta = InputMatrix(signs + 0.02 * jax.random.normal(rngs.params(), shape))
        self.gamma = OutputMatrix(jax.random.normal(rngs.params(), shape))
        self.omega = Feedthrough(jax.random.normal(rngs.params(), (width,)))

    def _system(self) -> tuple[Array, Array, Array]:
        alpha, delta = jax.nn.sigmoid(self.alpha[...]), jax.nn.sigmoid(self.delta[...])
        return jnp.log1p(-alpha * delta), alpha * self.beta[...], self.gamma[...] * self.states**-0.5


class ComplexEMA(MovingAverage):
    """Complex states with a = (1 - alpha delta) exp(i theta), gain alpha and a complex weight gamma / sqrt(n).

    Each channel has one base angle in (0, 2 pi / n), whose multiples 1 to n are the angles theta of its states.

    Source: Ma et al. 2024, "Megalodon" (arXiv 2404.08801), section 3.1, with the feedthrough omega of
    XuezheMax/megalodon.
    """

    parts = 2

    def __init__(self, width: int, *, state_size: int, bidirectional: bool = True, truncation: int = 0, rngs: nnx.Rngs):
        """Creates alpha, delta and gamma (directions h, n), the angle (directions h, 1), and omega (h).

        Raises:
            ArgumentError: as `MovingAverage`.
        """
        super().__init__(state_size, bidirectional=bidirectional, truncation=truncation)
        shape = (self.directions * width, state_size)
        self.alpha = Spectrum(0.2 * jax.random.normal(rngs.params(), shape))
        self.delta = Spectrum(0.2 * jax.random.normal(rngs.params(), shape))
        # Shares of the largest angle, evenly spaced in their logarithm from 1 / h, in random order.
        shares = np.clip(width ** (-np.arange(1, width + 1) / width), None, 0.999)
        angles = jnp.tile(jnp.log(shares / (1 - shares)), (self.directions, 1))
        self.angle = Spectrum(jax.random.permutation(rngs.params(), angles, axis=1, independent=True).reshape(-1, 1))
        gamma = jax.random.normal(rngs.params(), shape)
        self.gamma = OutputMatrix(jnp.stack([gamma, jnp.zeros(shape)], -1))
        self.omega = Feedthrough(0.25 * jax.random.truncated_normal(rngs.params(), -4.0, 4.0, (width,)))

    def _system(self) -> tuple[Array, Array, Array]:
        alpha, delta = jax.nn.sigmoid(self.alpha[...]), jax.nn.sigmoid(self.delta[...])
        largest = 2 * math.pi / self.states
        theta = jax.nn.sigmoid(self.angle[...]) * largest * np.arange(1, self.states + 1)
        log_a = jax.lax.complex(jnp.log1p(-alpha * delta), theta.astype(alpha.dtype))
        return log_a, alpha, ops.as_complex(self.gamma[...]) * self.states**-0.5
