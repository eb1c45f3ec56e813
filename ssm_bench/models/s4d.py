"""S4D: one diagonal state space model per channel, applied as a long convolution."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ssm_bench import ops
from ssm_bench.errors import UserError, unknown_name
from ssm_bench.network.mixer import Mixer, Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum, StepSize

INITS = ("lin", "inv", "legs")

# The authors cut the imaginary part of HiPPO's B there: the fastest modes of LegS would else drown the others.
LARGEST_INPUT = 2.0


class S4D(Mixer):
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
            init: "lin", "inv" or "legs": the eigenvalues A starts from.
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
            raise unknown_name("--config.mixer.init", init, INITS)
        if state_size < 2 or state_size % 2:
            raise UserError(
                f"--config.mixer.state_size counts conjugate pairs and must be even and at least 2; got {state_size}"
            )
        copies = copies or d_model
        if copies < 1 or d_model % copies:
            raise UserError(f"--config.mixer.copies must divide the width {d_model}, or be 0; got {copies}")
        ops.discretization_rule(discretization)
        self.discretization = discretization
        self.causal = not bidirectional

        eigenvalues, inputs = _initial_modes(init, state_size)
        shape = (copies, state_size // 2)
        self.log_decay = Spectrum(jnp.broadcast_to(np.log(-np.real(eigenvalues)), shape))
        self.frequency = Spectrum(jnp.broadcast_to(np.imag(eigenvalues), shape))
        self.B = InputMatrix(jnp.broadcast_to(ops.as_pairs(jnp.asarray(inputs)), (*shape, 2)))
        directions = 2 if bidirectional else 1
        self.C = OutputMatrix(ops.complex_normal(rngs.params(), (directions, d_model, state_size // 2)))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.log_dt = StepSize(ops.log_uniform_step(rngs.params(), (d_model,), dt_min, dt_max))

    def __call__(self, x: jax.Array, mask: jax.Array | None = None, *, key: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h), whole sequences."""
        x = x if mask is None else jnp.where(mask[..., None], x, 0)
        kernel = ops.diagonal_kernel(*self._system(), x.shape[1], discretization=self.discretization)
        y = ops.causal_conv(x, kernel[0]) if self.causal else ops.bidirectional_conv(x, kernel[0], kernel[1])
        return y.astype(x.dtype) + self.D[...].astype(x.dtype) * x

    def initial_state(self, batch: int) -> jax.Array:
        """Zeros (b, h, n/2), complex."""
        if not self.causal:
            return super().initial_state(batch)
        return jnp.zeros((batch, *self.C.shape[1:3]), jnp.result_type(self.log_dt[...], jnp.complex64))

    def step(self, x_t: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        """One step: (b, h) -> (b, h)."""
        if not self.causal:
            return super().step(x_t, state)
        A, B, C, dt = self._system()
        log_a, gain = ops.discretization_rule(self.discretization)(A, dt[:, None])
        state = jnp.exp(log_a) * state + gain * B * x_t[..., None]
        y_t = 2 * jnp.sum(jnp.real(C[0]) * jnp.real(state) - jnp.imag(C[0]) * jnp.imag(state), axis=-1)
        return y_t.astype(x_t.dtype) + self.D[...].astype(x_t.dtype) * x_t, state

    @property
    def state_size(self) -> int:
        """Real numbers carried along time, in both directions together: h n for each."""
        directions, width, modes, _ = self.C.shape
        return 2 * directions * width * modes

    def _system(self) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The continuous system: A (h, n/2), B (h, n/2), C (1 or 2, h, n/2) and dt (h)."""
        # Negative by construction: no mode can grow.
        A = jax.lax.complex(-jnp.exp(self.log_decay[...]), self.frequency[...])
        B = ops.as_complex(self.B[...])
        repeats = (self.D.shape[0] // A.shape[0], 1)
        return jnp.tile(A, repeats), jnp.tile(B, repeats), ops.as_complex(self.C[...]), jnp.exp(self.log_dt[...])


def _initial_modes(init: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (n/2) and input coefficients (n/2)."""
    if init == "legs":
        eigenvalues, vectors = ops.hippo_legs_diagonal(n)
        inputs = (vectors.conj().T @ ops.hippo_legs(n)[1])[: n // 2]
        return eigenvalues[: n // 2], np.real(inputs) + 1j * np.clip(np.imag(inputs), -LARGEST_INPUT, LARGEST_INPUT)
    eigenvalues = ops.s4d_lin(n) if init == "lin" else ops.s4d_inv(n)
    return eigenvalues, np.ones(n // 2, complex)
