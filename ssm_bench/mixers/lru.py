"""LRU: the linear recurrent unit, a diagonal recurrence with eigenvalues on a ring."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.diagonal import DiagonalMixer
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum


class LRU(DiagonalMixer):
    """x_t = lambda x_{t-1} + gamma B u_t, y_t = Re(C x_t) + D u_t, with lambda = exp(-exp(nu) + i exp(theta)).

    The n states are complex and come without conjugates. gamma starts at sqrt(1 - |lambda|^2), which gives states of
    unit scale, and is learned as a logarithm. A bidirectional layer runs the same recurrence from both ends with an
    output matrix each, as S5 does. Cost: O(b l h n) operations, O(log l) depth.

    Source: Orvieto et al. 2023, "Resurrecting recurrent neural networks for long sequences" (arXiv 2303.06349).
    """

    traits = Traits(parametrization="LTI", discretization="none", structure="MIMO", implementation="scan")

    #: False in the diagonal RNN: no gamma.
    normalized: ClassVar[bool] = True

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates nu, theta, log gamma (n), B (n, h), C (1 or 2, h, n) and D (h); complex ones as real pairs.

        Args:
            d_model: width h.
            state_size: number n of complex states.
            r_min: smallest initial |lambda|.
            r_max: largest initial |lambda|, at most 1.
            max_phase: largest initial phase, at most 2 pi.
            bidirectional: scan from both ends.
            rngs: random keys.

        Raises:
            UserError: sizes below 1, or an impossible ring.
        """
        if state_size < 1:
            raise ArgumentError("state_size", f"must be at least 1; got {state_size}")
        nu, theta, log_gamma = ops.ring(rngs.params(), state_size, r_min, r_max, max_phase)
        self.nu = Spectrum(nu)
        self.theta = Spectrum(theta)
        self.log_gamma = InputMatrix(log_gamma) if self.normalized else None
        directions = 2 if bidirectional else 1
        self.B = InputMatrix(ops.complex_normal(rngs.params(), (state_size, d_model), 1 / d_model))
        self.C = OutputMatrix(ops.complex_normal(rngs.params(), (directions, d_model, state_size), 2 / state_size))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.causal = not bidirectional

    def _system(self) -> tuple[Array, Array, Array]:
        """The recurrence: log lambda (n), gamma B (n, h), C (1 or 2, h, n)."""
        log_a = jax.lax.complex(-jnp.exp(self.nu[...]), jnp.exp(self.theta[...]))
        B = ops.as_complex(self.B[...])
        B = B if self.log_gamma is None else jnp.exp(self.log_gamma[...])[:, None] * B
        return log_a, B, ops.as_complex(self.C[...])
