"""S4D: one diagonal state space model per channel, applied as a long convolution."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Complex, Float

from ssm_bench import ops
from ssm_bench.errors import unknown_choice
from ssm_bench.network.convolution import ConvolutionMixer, check_copies, check_pairs, deal
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum, StepSize

INITS = ("inv", "legs", "lin", "real")

# The authors cut the imaginary part of HiPPO's B there: the fastest modes of LegS would else drown the others.
LARGEST_INPUT = 2.0


class S4D(ConvolutionMixer):
    """For each channel: x_t = a x_{t-1} + gain B u_t, y_t = 2 Re(C x_t) + D u_t, with a = exp(A dt) under ZOH.

    The n/2 complex modes stand for n conjugate ones. Whole sequences are convolved with the impulse response by FFT,
    in O(b h l log l) plus O(h n l) for the response; step mode runs the recurrence. A bidirectional layer has a second
    C, whose response runs backward and starts one step ahead, so that the present step is counted once.

    Source: Gu, Gupta, Goel and Ré 2022, "On the parameterization and initialization of diagonal state space models"
    (arXiv 2206.11893).
    """

    traits = Traits(parametrization="LTI", discretization="zoh", structure="SISO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        init: str = "legs",
        copies: int = 0,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        discretization: str = "zoh",
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates A and B (copies, n/2), C (1 or 2, h, n/2), D (h) and log dt (h); complex ones as real pairs.

        Args:
            d_model: width h.
            state_size: n, counting both of each conjugate pair; even.
            init: "lin", "inv", "legs" or "real": the eigenvalues A starts from.
            copies: independent sets of A and B, dealt to the channels in turn; must divide h. 0: one for each channel.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            discretization: "zoh" or "bilinear".
            bidirectional: convolve in both directions.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, an odd state, or copies that do not divide h.
        """
        if init not in INITS:
            raise unknown_choice("init", init, INITS)
        shape = (check_copies(copies, d_model), check_pairs(state_size))
        ops.discretization_rule(discretization)
        self.discretization = discretization
        self.causal = not bidirectional

        eigenvalues, inputs = _initial_modes(init, state_size)
        self.log_decay = Spectrum(jnp.broadcast_to(np.log(-np.real(eigenvalues)), shape))
        self.frequency = Spectrum(jnp.broadcast_to(np.imag(eigenvalues), shape))
        self.B = InputMatrix(jnp.broadcast_to(ops.as_pairs(jnp.asarray(inputs)), (*shape, 2)))
        directions = 2 if bidirectional else 1
        self.C = OutputMatrix(ops.complex_normal(rngs.params(), (directions, d_model, shape[1])))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.log_dt = StepSize(ops.log_uniform_step(rngs.params(), (d_model,), dt_min, dt_max))

    def _kernels(self, length: int) -> Array:
        return ops.diagonal_kernel(*self._system(), length, discretization=self.discretization)

    def _discrete(self) -> tuple[Array, Array, Array]:
        A, B, C, dt = self._system()
        log_a, gain = ops.discretization_rule(self.discretization)(A, dt[:, None])
        return jnp.exp(log_a), gain * B, C[0]

    def _advance(self, system: tuple[Array, Array, Array], x_t: Array, state: Array) -> tuple[Array, Array]:
        a, B, C = system
        state = a * state + B * x_t[..., None]
        return 2 * jnp.sum(jnp.real(C) * jnp.real(state) - jnp.imag(C) * jnp.imag(state), axis=-1), state

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Complex[Array, "h n"]:
        """The diagonals a and their conjugates (h, n), whatever the inputs."""
        half, _, _ = self._discrete()
        return jnp.concatenate([half, jnp.conj(half)], axis=-1)

    def _system(self) -> tuple[Array, Array, Array, Array]:
        """The continuous system: A (h, n/2), B (h, n/2), C (1 or 2, h, n/2) and dt (h)."""
        # Negative by construction: no mode can grow.
        A = jax.lax.complex(-jnp.exp(self.log_decay[...]), self.frequency[...])
        B = ops.as_complex(self.B[...])
        channels = self.D.shape[0]
        return deal(A, channels), deal(B, channels), ops.as_complex(self.C[...]), jnp.exp(self.log_dt[...])


def _initial_modes(init: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n/2) and input coefficients (n/2)."""
    if init == "legs":
        eigenvalues, vectors = ops.hippo_legs_diagonal(n)
        inputs = (vectors.conj().T @ ops.hippo_legs(n)[1])[: n // 2]
        return eigenvalues[: n // 2], np.real(inputs) + 1j * np.clip(np.imag(inputs), -LARGEST_INPUT, LARGEST_INPUT)
    eigenvalues = {"lin": ops.s4d_lin, "inv": ops.s4d_inv, "real": ops.s4d_real}[init](n)
    return eigenvalues, np.ones(n // 2, complex)
