"""B2S6: block-biased S6, whose channels form blocks and have biases of their own in the input matrix."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Inexact

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.mixers.s6 import S6Cell, check_state_size, initial_spectrum
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, Spectrum, StepSize


class B2S6(RecurrentMixer):
    """For channel i of a block: h_t = exp(delta_t A) h_{t-1} + delta_t (B_t + b_i) u_t, y_t = C_t h_t + D u_t.

    The width is divided into blocks of p channels. B_t (n), C_t (n) and one number w u_t are linear in the inputs of
    the block and shared by its channels; delta_t is the softplus of that number plus a bias of the channel. The bias
    b_i (n) of the input matrix does not depend on the input. A (n) is shared by all channels. A bidirectional layer
    adds a second set of parameters that reads the sequence from its end. Cost: O(b l h n) operations and h n states.

    Source: Yu and Erichson 2025, "Block-biased Mamba for long-range sequence processing" (arXiv 2505.09022),
    algorithm 2.
    """

    traits = Traits(parametrization="LTV", discretization="zoh", structure="SISO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 16,
        blocks: int = 8,
        complex_states: bool = True,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two cells.

        Args:
            d_model: width h.
            state_size: n; with complex states it counts both of each conjugate pair and is even.
            blocks: blocks of channels; must divide h. 1: all channels share B, C and the input of the step size.
            complex_states: A, B and its bias are complex, and A starts at -1/2 + i pi j instead of -j.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            bidirectional: read from both ends.
            rngs: random keys.

        Raises:
            UserError: impossible sizes or steps.
        """
        check_state_size(state_size, complex_states)
        if blocks < 1 or d_model % blocks:
            raise ArgumentError("blocks", f"must divide the width {d_model}; got {blocks}")

        def cell() -> B2S6Cell:
            return B2S6Cell(d_model, state_size, blocks, (dt_min, dt_max), complex_states, rngs)

        super().__init__(cell, bidirectional=bidirectional)

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Inexact[Array, "b l h n"]:
        """exp(delta_t A) at each position, (b, l, h, n)."""
        return self.forward.transitions(x)


class B2S6Cell(S6Cell):
    """The recurrence of S6 in one direction, with coefficients from the blocks."""

    def __init__(
        self,
        width: int,
        state_size: int,
        blocks: int,
        steps: tuple[float, float],
        complex_states: bool,
        rngs: nnx.Rngs,
    ):
        """Creates log(-A), or its real and imaginary parts (n); maps from each block; biases of each channel; D (h)."""
        log_decay, frequency = initial_spectrum(state_size, complex_states)
        self.log_decay = Spectrum(log_decay)
        self.frequency = None if frequency is None else Spectrum(frequency)
        states, size = self.log_decay.shape[0], width // blocks
        init = jax.nn.initializers.lecun_normal(batch_axis=0)
        #: To B (n, complex numbers as real pairs) and C (one real number for each state), side by side.
        self.projection = nnx.Param(init(rngs.params(), (blocks, size, state_size + states)))
        bound = size**-0.5
        self.dt_kernel = StepSize(jax.random.uniform(rngs.params(), (blocks, size), minval=-bound, maxval=bound))
        self.dt_bias = StepSize(ops.softplus_step(rngs.params(), (width,), *steps))
        bias = ops.complex_normal if complex_states else jax.random.normal
        self.B_bias = InputMatrix(bias(rngs.params(), (width, states)))
        self.D = Feedthrough(jnp.ones(width))
        self._state_size = state_size

    def coefficients(
        self, x: Float[Array, "b k h"]
    ) -> tuple[Float[Array, "b k h"], Inexact[Array, "b k blocks n"], Inexact[Array, "b k blocks n"]]:
        """For inputs (b, k, h): step sizes before bias and softplus (b, k, h), B and C (b, k, blocks, n)."""
        blocks = x.reshape(*x.shape[:-1], *self.dt_kernel.shape)
        delta = (blocks * self.dt_kernel[...].astype(x.dtype)).sum(-1, keepdims=True)
        projected = jnp.einsum("...gp,gpn->...gn", blocks, self.projection[...].astype(x.dtype))
        B, C = jnp.split(projected, [self._state_size], axis=-1)
        B = B if self.frequency is None else ops.as_complex(B.reshape(*B.shape[:-1], -1, 2))
        return jnp.broadcast_to(delta, blocks.shape).reshape(x.shape), B, C

    def _input_bias(self) -> Array:
        """What is added to B for each channel: (h, n), or complex (h, n/2)."""
        return self.B_bias[...] if self.frequency is None else ops.as_complex(self.B_bias[...])

    def _spectrum(self) -> Array:
        """A for each channel (h, n), or complex (h, n/2): the same for all."""
        A = super()._spectrum()
        return jnp.broadcast_to(A, (self.D.shape[0], *A.shape))
