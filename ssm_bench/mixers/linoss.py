"""LinOSS: forced harmonic oscillators, discretized implicitly."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Complex, Float

from ssm_bench import ops
from ssm_bench.errors import ArgumentError, unknown_choice
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.mixer import Traits
from ssm_bench.network.parameters import Feedthrough, InputMatrix, OutputMatrix, Spectrum, StepSize

DISCRETIZATIONS = ("im", "imex")


class LinOSS(RecurrentMixer):
    """x'' = -A x + B u, y = Re(C x) + D u: n oscillators with A >= 0, a velocity v and a position x each.

    "im" is implicit in both, v_t = v_{t-1} + dt (B u_t - A x_t), x_t = x_{t-1} + dt v_t, and dissipates; "imex" takes
    x_{t-1} in the first, and forgets nothing. Positions and velocities are complex, since B is. A bidirectional layer
    adds a second system run from the end. Cost: O(b l n h) operations, in O(log l) depth on accelerators.

    Source: Rusch and Rus 2025, "Oscillatory state-space models" (arXiv 2410.03943).
    """

    traits = Traits(parametrization="LTI", discretization="im", structure="MIMO", implementation="scan")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        discretization: str = "im",
        bidirectional: bool = False,
        rngs: nnx.Rngs,
    ):
        """Creates one or two systems.

        Args:
            d_model: width h.
            state_size: number n of oscillators.
            discretization: "im" or "imex".
            bidirectional: run from both ends, with a system each.
            rngs: random keys.

        Raises:
            UserError: no oscillator, or an unknown discretization.
        """
        if state_size < 1:
            raise ArgumentError("state_size", f"must be at least 1; got {state_size}")
        if discretization not in DISCRETIZATIONS:
            raise unknown_choice("discretization", discretization, DISCRETIZATIONS)
        super().__init__(lambda: Oscillators(d_model, state_size, discretization, rngs), bidirectional=bidirectional)


class Oscillators(nnx.Module):
    """One system of n oscillators, run forward."""

    def __init__(self, width: int, count: int, discretization: str, rngs: nnx.Rngs):
        """Creates A and the steps (n), B (n, h), C (h, n), as real pairs, and D (h)."""

        def uniform(shape: tuple[int, ...], bound: float) -> Array:
            return jax.random.uniform(rngs.params(), shape, minval=-bound, maxval=bound)

        self.A = Spectrum(jax.random.uniform(rngs.params(), (count,)))
        self.step_logit = StepSize(jax.random.uniform(rngs.params(), (count,)))
        self.B = InputMatrix(uniform((count, width, 2), 1 / math.sqrt(width)))
        self.C = OutputMatrix(uniform((width, count, 2), 1 / math.sqrt(count)))
        self.D = Feedthrough(jax.random.normal(rngs.params(), (width,)))
        self.implicit = discretization == "im"

    def _system(self) -> tuple[Array, Array]:
        """Transitions (n, 2, 2) of velocity and position, and what a unit force adds to them (n, 2)."""
        A, dt = jax.nn.relu(self.A[...]), jax.nn.sigmoid(self.step_logit[...])
        if not self.implicit:
            one = jnp.ones_like(A)
            rows = (jnp.stack([one, -dt * A], -1), jnp.stack([dt, 1 - dt**2 * A], -1))
            return jnp.stack(rows, 1), jnp.stack([dt, dt**2], -1)
        # (1 + dt^2 A) divides what the two implicit equations give.
        rows = (jnp.stack([jnp.ones_like(A), -dt * A], -1), jnp.stack([dt, jnp.ones_like(A)], -1))
        solved = 1 / (1 + dt**2 * A)
        return jnp.stack(rows, 1) * solved[:, None, None], jnp.stack([dt, dt**2], -1) * solved[:, None]

    def initial_state(self, batch: int) -> Complex[Array, "{batch} n 2"]:
        """At rest: complex zeros (b, n, 2)."""
        count = self.A.shape[0]
        return jnp.zeros((batch, count, 2), jnp.result_type(self.A[...], jnp.complex64))

    def extend(
        self, x: Float[Array, "b k h"], state: Complex[Array, "b n 2"]
    ) -> tuple[Float[Array, "b k h"], Complex[Array, "b n 2"]]:
        """A chunk (b, k, h) and the state before it."""
        transition, force = self._system()
        # Complex products as real ones of twice the width.
        B = jnp.moveaxis(self.B[...], -1, 0).reshape(-1, self.B.shape[1])
        real, imaginary = jnp.split((x @ B.T.astype(x.dtype)).astype(state.real.dtype), 2, axis=-1)
        added = jax.lax.complex(real, imaginary)[..., None] * force

        def run(transition: Array, added: Array, before: Array) -> Array:
            return ops.dense_recurrence(transition, added, h0=before)

        states = jax.vmap(run, in_axes=(0, 2, 1), out_axes=2)(transition, added, state)
        position, C = states[..., 1], self.C[...]
        y = jnp.real(position) @ C[..., 0].T - jnp.imag(position) @ C[..., 1].T
        return (y + self.D[...] * x).astype(x.dtype), states[:, -1].astype(state.dtype)

    @property
    def state_size(self) -> int:
        """Velocity and position of each oscillator, both complex."""
        return 4 * self.A.shape[0]
