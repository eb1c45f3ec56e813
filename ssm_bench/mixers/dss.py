"""DSS: diagonal state spaces without an input matrix, one output matrix per channel, applied as a long convolution."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, UserError, unknown_choice
from ssm_bench.network.convolution import ConvolutionMixer, check_copies, deal
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, OutputMatrix, Spectrum, StepSize

VERSIONS = ("exp", "softmax")
INITS = ("legs", "lin")


class DSS(ConvolutionMixer):
    """For each channel: x_t = a x_{t-1} + gain u_t, y_t = Re(C x_t) + D u_t, with a = exp(Lambda dt).

    The n complex states stand for themselves, without conjugates; there is no B, and the channels share Lambda. Version
    "exp" is the zero-order hold, gain = (a - 1) / Lambda, with a negative real part of Lambda. Version "softmax"
    divides the powers of a mode by their sum over `kernel_length` steps, gain = (a - 1) / (Lambda (a^length - 1)); so
    the real part may have either sign. Cost: O(b h l log l) for the convolution, O(h n l) for the response; O(h n) a
    step.

    Source: Gupta, Gu and Berant 2022, "Diagonal state spaces are as effective as structured state spaces"
    (arXiv 2203.14343).
    """

    traits = Traits(parametrization="LTI", discretization="zoh", structure="SISO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        version: str = "softmax",
        kernel_length: int = 16_384,
        init: str = "legs",
        copies: int = 1,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        separate_steps: bool = True,
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates Lambda (copies, n), C (1 or 2, h, n), D (h) and log dt (h, 1 or 2); C as real pairs.

        Args:
            d_model: width h.
            state_size: n complex states.
            version: "softmax" or "exp".
            kernel_length: steps that the softmax normalizes over, and the longest sequence it takes; "exp" has none.
            init: the eigenvalues Lambda starts from: "legs", the upper half of those of HiPPO-LegS with 2n states, or
                "lin".
            copies: independent sets of Lambda, dealt to the channels in turn; must divide h. 0: one for each channel.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            separate_steps: the frequencies have a step of their own, which starts like that of the decay rates.
            bidirectional: convolve in both directions.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, no states, no length, or copies that do not divide h.
        """
        if version not in VERSIONS:
            raise unknown_choice("version", version, VERSIONS)
        if init not in INITS:
            raise unknown_choice("init", init, INITS)
        for option, value in (("state_size", state_size), ("kernel_length", kernel_length)):
            if value < 1:
                raise ArgumentError(option, f"must be at least 1; got {value}")
        copies = check_copies(copies, d_model)
        self.version = version
        self.kernel_length = kernel_length
        self.causal = not bidirectional

        full = 2 * state_size
        eigenvalues = ops.s4d_lin(full) if init == "lin" else ops.hippo_legs_diagonal(full)[0][state_size:]
        real, imag = (
            np.broadcast_to(part, (copies, state_size)) for part in (np.real(eigenvalues), np.imag(eigenvalues))
        )
        # Softmax keeps the real part itself, which may turn positive; exp the logarithm of its size.
        self.decay = Spectrum(jnp.asarray(-real if version == "softmax" else np.log(-real)))
        self.frequency = Spectrum(jnp.asarray(imag))
        directions = 2 if bidirectional else 1
        self.C = OutputMatrix(ops.complex_normal(rngs.params(), (directions, d_model, state_size), variance=2.0))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        log_dt = ops.log_uniform_step(rngs.params(), (d_model, 1), dt_min, dt_max)
        self.log_dt = StepSize(jnp.tile(log_dt, (1, 2 if separate_steps else 1)))

    def _kernels(self, length: int) -> Array:
        Lambda, dt = self._system()
        B, C = jnp.ones_like(Lambda), ops.as_complex(self.C[...])
        if self.version == "exp":
            # Without conjugates: half of what S4D computes.
            return ops.diagonal_kernel(Lambda, B, C / 2, dt, length, discretization="zoh")
        if length > self.kernel_length:
            raise UserError(
                "kernel_length, over which the softmax normalizes, must be at least the length of the sequences, "
                f"{length}; got {self.kernel_length}"
            )
        return ops.diagonal_kernel(Lambda, B, C, dt, length, discretization="dss", horizon=self.kernel_length)

    def _discrete(self) -> tuple[Array, Array, Array]:
        Lambda, dt = self._system()
        if self.version == "exp":
            log_a, gain = ops.discretize_zoh(Lambda, dt[:, None])
        else:
            log_a, gain = ops.softmax_recurrence(Lambda, dt[:, None], self.kernel_length)
        return jnp.exp(log_a), gain, ops.as_complex(self.C[0])

    def _advance(self, system: tuple[Array, Array, Array], x_t: Array, state: Array) -> tuple[Array, Array]:
        a, gain, C = system
        state = a * state + gain * x_t[..., None]
        return jnp.sum(jnp.real(C) * jnp.real(state) - jnp.imag(C) * jnp.imag(state), axis=-1), state

    def _system(self) -> tuple[Array, Array]:
        """The continuous system of each channel: Lambda (h, n) and dt (h)."""
        decay, frequency = (deal(part[...], len(self.D[...])) for part in (self.decay, self.frequency))
        decay = jnp.exp(decay) if self.version == "exp" else decay
        dt = jnp.exp(self.log_dt[...])
        # The frequencies' own step, as a factor on them.
        return jax.lax.complex(-decay, frequency * (dt[:, -1:] / dt[:, :1])), dt[:, 0]
