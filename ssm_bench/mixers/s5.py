"""S5: one state space model with many inputs and outputs, diagonal, solved by a parallel scan."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.diagonal import DiagonalMixer
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum, StepSize

OUTPUT_INITS = ("lecun_normal", "trunc_standard_normal", "complex_normal")

# Where the real part of an eigenvalue is stopped, if asked, so that no mode can grow.
LARGEST_REAL_PART = -1e-4


class S5(DiagonalMixer):
    """x_t = a x_{t-1} + gain B u_t, y_t = 2 Re(C x_t) + D u_t, with a = exp(Lambda dt) under zero-order hold.

    The p/2 complex states stand for p conjugate ones. Lambda starts as the normal part of HiPPO-LegS, diagonalized in
    `blocks` equal blocks. A bidirectional layer runs the same recurrence from both ends, with an output matrix each;
    both see the present step. Cost: O(b l h p) operations, O(log l) depth.

    Source: Smith, Warrington and Linderman 2023, "Simplified state space layers" (arXiv 2208.04933).
    """

    traits = Traits(parametrization="LTI", discretization="zoh", structure="MIMO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        blocks: int = 1,
        output_init: str = "lecun_normal",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        clip_eigenvalues: bool = False,
        discretization: str = "zoh",
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates Lambda (p/2), B (p/2, h), C (1 or 2, h, p/2), D (h) and log dt (p/2); complex ones as real pairs.

        Args:
            d_model: width h.
            state_size: p, counting both of each conjugate pair.
            blocks: HiPPO blocks that start Lambda; p must be a multiple of twice this.
            output_init: scale of C. Its real and imaginary parts have standard deviation 1/sqrt(p h) for
                "lecun_normal" and 1/sqrt(p) for "trunc_standard_normal", both before the change of basis;
                sqrt(1/2) for "complex_normal", without one.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per state.
            clip_eigenvalues: stop the real part of Lambda at -1e-4.
            discretization: "zoh" or "bilinear".
            bidirectional: scan from both ends.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, or a state that does not divide into blocks of pairs.
        """
        if output_init not in OUTPUT_INITS:
            raise unknown_choice("output_init", output_init, OUTPUT_INITS)
        if blocks < 1 or state_size < 1 or state_size % (2 * blocks):
            raise ArgumentError(
                "state_size",
                "must be a positive multiple of twice blocks, because each "
                f"block holds conjugate pairs; got state_size {state_size} and blocks {blocks}",
            )
        self.rule = ops.discretization_rule(discretization)
        self.clip_eigenvalues = clip_eigenvalues
        self.causal = not bidirectional

        block = state_size // blocks
        eigenvalues, vectors = ops.hippo_legs_diagonal(block)
        half, basis = jnp.tile(eigenvalues[: block // 2], blocks), jnp.asarray(vectors[:, : block // 2])
        self.lambda_real = Spectrum(jnp.real(half))
        self.lambda_imag = Spectrum(jnp.imag(half))
        dense = jax.nn.initializers.lecun_normal()(rngs.params(), (state_size, d_model))
        rotated = jnp.einsum("nm,jnh->jmh", jnp.conj(basis), dense.reshape(blocks, block, d_model))
        self.B = InputMatrix(ops.as_pairs(rotated.reshape(-1, d_model)))
        self.C = OutputMatrix(
            jnp.stack(
                [
                    _output_matrix(rngs.params(), output_init, d_model, blocks, basis)
                    for _ in range(2 if bidirectional else 1)
                ]
            )
        )
        self.D = Feedthrough(jax.random.normal(rngs.params(), (d_model,)))
        self.log_dt = StepSize(ops.log_uniform_step(rngs.params(), (state_size // 2,), dt_min, dt_max))

    def _system(self) -> tuple[Array, Array, Array]:
        """The discrete system: log a (p/2), B (p/2, h), C (1 or 2, h, p/2), the conjugate half counted in C."""
        real = self.lambda_real[...]
        real = jnp.minimum(real, LARGEST_REAL_PART) if self.clip_eigenvalues else real
        log_a, gain = self.rule(jax.lax.complex(real, self.lambda_imag[...]), jnp.exp(self.log_dt[...]))
        return log_a, gain[:, None] * ops.as_complex(self.B[...]), 2 * ops.as_complex(self.C[...])

    def eigenvalues(self, x: Float[Array, "b l h"]) -> Complex[Array, " states"]:
        """The diagonal a and its conjugates (p,), whatever the inputs."""
        half = super().eigenvalues(x)
        return jnp.concatenate([half, jnp.conj(half)])


def _output_matrix(key: PRNGKeyArray, init: str, d_model: int, blocks: int, basis: Array) -> Array:
    """C (h, p/2, 2); `basis` (p/blocks, p/blocks/2) holds the eigenvectors of one block."""
    size, pairs = basis.shape
    if init == "complex_normal":
        return ops.complex_normal(key, (d_model, blocks * pairs))
    # The authors draw (h, p, 2): one fan-in over rows and columns, or one for each row.
    batch_axis = () if init == "lecun_normal" else (0,)
    draw = jax.nn.initializers.lecun_normal(batch_axis=batch_axis)(key, (d_model, blocks * size, 2))
    rotated = jnp.einsum("hjn,nm->hjm", ops.as_complex(draw).reshape(d_model, blocks, size), basis)
    return ops.as_pairs(rotated.reshape(d_model, -1))
