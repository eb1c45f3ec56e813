"""S4: one structured state space model per channel, diagonal plus low rank, applied as a long convolution."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Complex, Float

from ssm_bench import ops
from ssm_bench.errors import UserError, unknown_choice
from ssm_bench.network.convolution import ConvolutionMixer, check_copies, check_pairs, deal
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum, StepSize

INITS = ("fout", "legs", "legt")

# Where the authors stop the real part of Lambda at the start: that of LegT and FouT is zero, and has no logarithm.
SMALLEST_DECAY = 1e-4


class S4(ConvolutionMixer):
    """For each channel: x' = A x + B u, y = 2 Re(C x) + D u, with A = diag(Lambda) - P P*, under the bilinear rule.

    The n/2 complex modes stand for n conjugate ones. Whole sequences are convolved with the impulse response by FFT,
    in O(b h l log l), plus O(h n L rank) for the response: sums over the modes at the roots of unity (Cauchy products),
    with the low rank put in by the Woodbury identity. Step mode solves for the next state in O(n).

    As published, what learns is C (1 - A_bar^L) for the longest sequence L, so that the response needs no powers of
    A_bar; shorter sequences take its beginning. Longer ones, and step mode once a chunk, first restore C, in
    O(h n^3 log L).

    A bidirectional layer has a second C, whose response runs backward and starts one step ahead, so that the present
    step is counted once.

    Source: Gu, Goel and Ré 2022, "Efficiently modeling long sequences with structured state spaces"
    (arXiv 2111.00396); LegT and FouT: Gu et al. 2022, "How to train your HiPPO" (arXiv 2206.12037).
    """

    traits = Traits(parametrization="LTI", discretization="bilinear", structure="SISO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        init: str = "legs",
        copies: int = 0,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bidirectional: bool = True,
        truncate: bool = True,
        max_length: int = 0,
        rngs: nnx.Rngs,
    ):
        """Creates Lambda, P and B (copies, n/2), C (1 or 2, h, n/2), D (h) and log dt (h); complex ones as real pairs.

        Args:
            d_model: width h.
            state_size: n, counting both of each conjugate pair; even.
            init: the HiPPO matrix A starts from: "legs" or "fout" (rank 1) or "legt" (rank 2).
            copies: independent sets of Lambda, P and B, dealt to the channels in turn; must divide h. 0: one for each
                channel.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            bidirectional: convolve in both directions.
            truncate: False: C itself learns, and every response needs powers of A_bar.
            max_length: the longest sequence L that C is truncated for; 0: there is none, and C itself learns.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, an odd state, copies that do not divide h, or a negative length.
        """
        if init not in INITS:
            raise unknown_choice("init", init, INITS)
        shape = (check_copies(copies, d_model), check_pairs(state_size))
        if max_length < 0:
            raise UserError(f"max_length must be at least 0; got {max_length}")
        self.causal = not bidirectional
        self.truncated = max_length if truncate else 0

        eigenvalues, low_rank, inputs = ops.hippo_dplr(init, state_size)
        self.log_decay = Spectrum(jnp.broadcast_to(np.log(np.maximum(-np.real(eigenvalues), SMALLEST_DECAY)), shape))
        self.frequency = Spectrum(jnp.broadcast_to(np.imag(eigenvalues), shape))
        low_rank = ops.as_pairs(jnp.asarray(low_rank))[:, None]
        self.P = Spectrum(jnp.broadcast_to(low_rank, (len(low_rank), *shape, 2)))
        self.B = InputMatrix(jnp.broadcast_to(ops.as_pairs(jnp.asarray(inputs)), (*shape, 2)))
        directions = 2 if bidirectional else 1
        self.C = OutputMatrix(ops.complex_normal(rngs.params(), (directions, d_model, shape[1])))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.log_dt = StepSize(ops.log_uniform_step(rngs.params(), (d_model,), dt_min, dt_max))
        if self.truncated:
            Lambda, P, _, dt = self._system()
            C = ops.truncate_output(Lambda, P, ops.as_complex(self.C[...]), dt, self.truncated)
            self.C[...] = ops.as_pairs(C)

    def _kernels(self, length: int) -> Array:
        Lambda, P, B, dt = self._system()
        if length > self.truncated:
            return ops.dplr_kernel(Lambda, P, B, self._output(Lambda, P, dt), dt, length)
        C = ops.as_complex(self.C[...])
        return ops.dplr_kernel(Lambda, P, B, C, dt, self.truncated, truncated=True)[..., :length]

    def _discrete(self) -> tuple[ops.DPLRSystem, Array]:
        Lambda, P, B, dt = self._system()
        return ops.dplr_system(Lambda, P, B, dt), self._output(Lambda, P, dt)[0]

    def _output(self, Lambda: Array, P: Array, dt: Array) -> Array:
        """C itself, (1 or 2, h, n/2)."""
        C = ops.as_complex(self.C[...])
        return ops.restore_output(Lambda, P, C, dt, self.truncated) if self.truncated else C

    def _advance(self, system: tuple[ops.DPLRSystem, Array], x_t: Array, state: Array) -> tuple[Array, Array]:
        recurrence, C = system
        state = ops.dplr_step(recurrence, x_t, state)
        return 2 * jnp.sum(jnp.real(C) * jnp.real(state) - jnp.imag(C) * jnp.imag(state), axis=-1), state

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Complex[Array, "h n"]:
        """Eigenvalues of A_bar (h, n), whatever the inputs: those of A by dense linear algebra, in O(h n^3).

        A is far from normal: rounding of its parameters to float32 moves the eigenvalues of 64 states visibly.
        """
        Lambda, P, _, dt = (np.asarray(a, np.result_type(a.dtype, np.float64)) for a in self._system())
        Lambda = np.concatenate([Lambda, Lambda.conj()], axis=-1)
        P = np.concatenate([P, P.conj()], axis=-1)
        A = Lambda[..., None] * np.eye(Lambda.shape[-1]) - np.einsum("rhn,rhm->hnm", P, P.conj())
        # Channels share few matrices, and differ in their steps.
        matrices, of_channel = np.unique(A, axis=0, return_inverse=True)
        half_steps = np.linalg.eigvals(matrices)[of_channel.ravel()] * dt[:, None] / 2
        return jnp.asarray((1 + half_steps) / (1 - half_steps))

    def _system(self) -> tuple[Array, Array, Array, Array]:
        """The continuous system of each channel: Lambda (h, n/2), P (rank, h, n/2), B (h, n/2) and dt (h)."""
        # Negative by construction. The low-rank part only damps, so no mode can grow.
        Lambda = jax.lax.complex(-jnp.exp(self.log_decay[...]), self.frequency[...])
        channels = len(self.D[...])
        P = jax.vmap(lambda P: deal(P, channels))(ops.as_complex(self.P[...]))
        B = ops.as_complex(self.B[...])
        return deal(Lambda, channels), P, deal(B, channels), jnp.exp(self.log_dt[...])
