"""LSSL: a linear state space layer with a dense state matrix, applied as a long convolution; S4 came from it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.convolution import ConvolutionMixer
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum, StepSize


class LSSL(ConvolutionMixer):
    """For each channel: x' = A x + B u, y = C x + D u, sampled by the bilinear rule with a step of its own.

    A and B start as HiPPO-LegS and are shared by all channels. Real and dense: the response costs O(h n l + h n^3
    log l) and a step O(h n^2), for small n; the convolution by FFT costs O(b h l log l). A bidirectional layer has a
    second C, whose response runs backward and starts one step ahead, so that the present step is counted once.

    Source: Gu, Johnson, Goel, Saab, Dao, Rudra and Ré 2021, "Combining recurrent, convolutional, and continuous-time
    models with linear state-space layers" (arXiv 2110.13985).
    """

    traits = Traits(parametrization="LTI", discretization="bilinear", structure="SISO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 16,
        trainable: bool = True,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates A (n, n) and B (n), C (1 or 2, h, n), D (h) and log dt (h), all real.

        Args:
            d_model: width h.
            state_size: n; cost and rounding grow fast with it.
            trainable: A and B learn; False keeps them HiPPO-LegS, the paper's LSSL-fixed.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            bidirectional: convolve in both directions.
            rngs: random keys.

        Raises:
            UserError: no states.
        """
        if state_size < 1:
            raise ArgumentError("state_size", f"must be at least 1; got {state_size}")
        self.causal = not bidirectional
        A, B = ops.hippo_legs(state_size)
        self.A = Spectrum(jnp.asarray(A)) if trainable else None
        self.B = InputMatrix(jnp.asarray(B)) if trainable else None
        directions = 2 if bidirectional else 1
        self.C = OutputMatrix(jax.random.normal(rngs.params(), (directions, d_model, state_size)))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.log_dt = StepSize(ops.log_uniform_step(rngs.params(), (d_model,), dt_min, dt_max))

    def _kernels(self, length: int) -> Array:
        A, B, dt = self._system()
        return ops.dense_kernel(A, B, self.C[...], dt, length)

    def _discrete(self) -> tuple[Array, Array, Array]:
        return *ops.discretize_dense(*self._system()), self.C[0]

    def _advance(self, system: tuple[Array, Array, Array], x_t: Array, state: Array) -> tuple[Array, Array]:
        excess, B, C = system
        change = jnp.einsum("hij,bhj->bhi", excess, state, precision=jax.lax.Precision.HIGHEST)
        state = state + change + B * x_t[..., None]
        return jnp.sum(C * state, axis=-1), state

    def _system(self) -> tuple[Array, Array, Array]:
        """The continuous system: A (n, n), B (n) and dt (h)."""
        dt = jnp.exp(self.log_dt[...])
        if self.A is None or self.B is None:
            A, B = ops.hippo_legs(self.C.shape[-1])
            return jnp.asarray(A, dt.dtype), jnp.asarray(B, dt.dtype), dt
        return self.A[...], self.B[...], dt
