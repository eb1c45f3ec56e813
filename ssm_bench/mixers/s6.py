"""S6: the selective state space model of Mamba, whose step size, input and output depend on the input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Inexact

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import Linear
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, Spectrum, StepSize


class S6(RecurrentMixer):
    """For each channel: h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t, y_t = C_t h_t + D u_t.

    delta_t (h), B_t (n) and C_t (n) are linear in u_t, the step size through a softplus; B and C are shared by the
    channels. What surrounds it in Mamba, gate and short convolution, is the scaffold "mamba". A bidirectional layer
    adds a second set of parameters that reads the sequence from its end. Cost: O(b l h n) operations and h n states.

    Source: Gu and Dao 2023, "Mamba: linear-time sequence modeling with selective state spaces" (arXiv 2312.00752).
    """

    traits = Traits(parametrization="LTV", discretization="zoh", structure="SISO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 16,
        complex_states: bool = False,
        dt_rank: int = 0,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            state_size: n; with complex states it counts both of each conjugate pair and is even.
            complex_states: A, B and C are complex, and A starts at -1/2 + i pi j instead of -j.
            dt_rank: rank of the map from inputs to step sizes; 0: h / 16, rounded up.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes or steps.
        """
        check_state_size(state_size, complex_states)
        if dt_rank < 0:
            raise ArgumentError("dt_rank", f"must be at least 1, or 0 for a rank by the width; got {dt_rank}")
        rank = dt_rank or math.ceil(d_model / 16)

        def cell() -> S6Cell:
            return S6Cell(d_model, state_size, rank, (dt_min, dt_max), complex_states, rngs)

        super().__init__(cell, bidirectional=bidirectional)

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Inexact[Array, "b l h n"]:
        """exp(delta_t A) at each position, (b, l, h, n)."""
        return self.forward.transitions(x)


def check_state_size(state_size: int, complex_states: bool) -> None:
    """Refuses a number of states that no cell can have.

    Raises:
        ArgumentError: it is below 1, or odd with complex states, which come in conjugate pairs.
    """
    if state_size < 1 or (complex_states and state_size % 2):
        allowed = "even and at least 2, counting conjugate pairs" if complex_states else "at least 1"
        raise ArgumentError("state_size", f"must be {allowed}; got {state_size}")


def initial_spectrum(state_size: int, complex_states: bool) -> tuple[Float[Array, " n"], Float[Array, " n"] | None]:
    """log(-Re A) and Im A of the initial A: -1/2 + i pi j, one of each conjugate pair (n/2), or -j and None (n)."""
    if not complex_states:
        return jnp.log(jnp.arange(1.0, state_size + 1)), None
    eigenvalues = ops.s4d_lin(state_size)
    return jnp.log(-np.real(eigenvalues)), jnp.asarray(np.imag(eigenvalues))


class S6Cell(nnx.Module):
    """The recurrence in one direction, with its parameters."""

    def __init__(
        self,
        width: int,
        state_size: int,
        dt_rank: int,
        steps: tuple[float, float],
        complex_states: bool,
        rngs: nnx.Rngs,
    ):
        """Creates log(-A), or its real and imaginary parts, (h, n); the projections; and D (h)."""
        log_decay, frequency = initial_spectrum(state_size, complex_states)
        self.log_decay = Spectrum(jnp.tile(log_decay, (width, 1)))
        self.frequency = None if frequency is None else Spectrum(jnp.tile(frequency, (width, 1)))
        #: To the factor of delta (rank), B (n) and C (n), side by side; complex numbers as real pairs.
        self.projection = Linear(width, dt_rank + 2 * state_size, bias=False, rngs=rngs)
        bound = dt_rank**-0.5
        self.dt_kernel = StepSize(jax.random.uniform(rngs.params(), (dt_rank, width), minval=-bound, maxval=bound))
        self.dt_bias = StepSize(ops.softplus_step(rngs.params(), (width,), *steps))
        self.D = Feedthrough(jnp.ones(width))
        self._state_size = state_size

    def initial_state(self, batch: int) -> Inexact[Array, "{batch} h n"]:
        """Zeros (b, h, n), or complex (b, h, n/2)."""
        A = self._spectrum()
        return jnp.zeros((batch, *A.shape), A.dtype)

    def extend(
        self, x: Float[Array, "b k h"], state: Inexact[Array, "b h n"]
    ) -> tuple[Float[Array, "b k h"], Inexact[Array, "b h n"]]:
        """A chunk (b, k, h) and the state before it."""
        delta, B, C = self.coefficients(x)
        y, state = ops.selective_scan(
            x,
            delta,
            self._spectrum(),
            B,
            C,
            self.D[...],
            delta_bias=self.dt_bias[...],
            B_bias=self._input_bias(),
            delta_softplus=True,
            h0=state,
            return_last_state=True,
        )
        return y, state

    def coefficients(
        self, x: Float[Array, "b k h"]
    ) -> tuple[Float[Array, "b k h"], Inexact[Array, "b k *blocks n"], Inexact[Array, "b k *blocks n"]]:
        """For inputs (b, k, h): step sizes before bias and softplus (b, k, h), B and C (b, k, n)."""
        rank, n = self.dt_kernel.shape[0], self._state_size
        factor, B, C = jnp.split(self.projection(x), [rank, rank + n], axis=-1)
        if self.frequency is not None:
            B, C = (ops.as_complex(s.reshape(*s.shape[:-1], -1, 2)) for s in (B, C))
        return factor @ self.dt_kernel[...].astype(x.dtype), B, C

    def transitions(self, x: Float[Array, "b l h"]) -> Inexact[Array, "b l h n"]:
        """exp(delta_t A) for inputs (b, l, h): (b, l, h, n), with the conjugates of complex states last."""
        delta = jax.nn.softplus(self.coefficients(x)[0] + self.dt_bias[...])
        half = jnp.exp(delta[..., None] * self._spectrum())
        return half if self.frequency is None else jnp.concatenate([half, jnp.conj(half)], axis=-1)

    def _input_bias(self) -> Array | None:
        """What is added to B for each channel (h, n): nothing."""
        return None

    def _spectrum(self) -> Array:
        """A (h, n), or complex (h, n/2); negative real parts by construction."""
        decay = -jnp.exp(self.log_decay[...])
        return decay if self.frequency is None else jax.lax.complex(decay, self.frequency[...])

    @property
    def state_size(self) -> int:
        """h n real numbers; two for each complex one."""
        return self.D.shape[0] * self._state_size
