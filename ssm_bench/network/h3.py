"""The layer of H3: two gates and a shift around a mixer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import ArgumentError
from ssm_bench.network.layers import MOST_TAPS, Linear, ShortConv
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import Feedthrough
from ssm_bench.network.scaffold import extend_part, run_part

# Standard deviation at which the four maps start. A product of three signals of unit scale has long tails: with maps
# that keep the scale, gradients are too rough to learn from.
_MAP_STD = 0.02


class H3Layer(Mixer):
    """y = W_o (q * mixer(shift(k) * v)) with q, k and v linear maps of the input, all products by channel.

    The shift lets a position be compared with those just before it, the inner mixer remembers. The layer is causal if
    the inner mixer is; else the shift looks ahead by half of its width.

    Source: Fu et al. 2023, "Hungry hungry hippos: towards language modeling with state space models"
    (arXiv 2212.14052), section 3, with heads of one channel.
    """

    def __init__(self, d_model: int, mixer: Callable[[int, nnx.Rngs], Mixer], *, shift_size: int, rngs: nnx.Rngs):
        """Creates the maps, the inner mixer and the shift.

        Args:
            d_model: width h.
            mixer: makes the inner mixer of a given width.
            shift_size: inputs that the shift sees, from 1 to MOST_TAPS.
            rngs: random keys.

        Raises:
            UserError: another number.
        """
        if not 1 <= shift_size <= MOST_TAPS:
            raise ArgumentError("shift_size", f"must lie in 1..{MOST_TAPS}; got {shift_size}")
        self.query, self.keys, self.values, self.out = (
            Linear(d_model, d_model, variance=_MAP_STD**2 * d_model, rngs=rngs) for _ in range(4)
        )
        self.mixer = mixer(d_model, rngs)
        self.causal = self.mixer.causal
        self.shift = Shift(d_model, shift_size, causal=self.causal, rngs=rngs)

    def _gated(self, x: Array, along: Callable[[str, Array], Array]) -> Array:
        """The layer; `along` runs the two parts that relate positions to each other, by name."""
        return self.out(self.query(x) * along("mixer", along("shift", self.keys(x)) * self.values(x)))

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), whole sequences."""
        # The shift and the biases leave numbers at padded positions, which the inner mixer must not see.
        return self._gated(x, lambda part, u: run_part(getattr(self, part), u, mask, key=key)).astype(x.dtype)

    def initial_state(self, batch: int) -> dict[str, Any]:
        """The states of the shift and of the inner mixer."""
        if not self.causal:
            return super().initial_state(batch)
        return {"shift": self.shift.initial_state(batch), "mixer": self.mixer.initial_state(batch)}

    def extend(self, x: Float[Array, "b k h"], state: dict[str, Any]) -> tuple[Float[Array, "b k h"], dict[str, Any]]:
        """A chunk (b, k, h), as fast as the inner mixer does it."""
        if not self.causal:
            return super().extend(x, state)
        new = dict(state)

        def along(part: str, u: Array) -> Array:
            y, new[part] = extend_part(getattr(self, part), u, state[part])
            return y

        return self._gated(x, along).astype(x.dtype), new

    @property
    def state_size(self) -> int | None:
        """Real numbers in the states of the shift and the inner mixer; None if the latter grows with the length."""
        inner = self.mixer.state_size
        return None if inner is None else inner + self.shift.state_size


class Shift(ShortConv):
    """The shift SSM: y_t = C x_t + D u_t, where the state x_t is the last inputs themselves.

    So it is a short convolution, and its weights C start like those of one; D, standard normal, weighs the present
    input once more. Applied by FFT, which for the 64 inputs of the paper reads less memory than 64 products do.
    """

    def __init__(self, width: int, size: int, *, causal: bool, rngs: nnx.Rngs):
        """Creates C (size, width), the newest input last, and D (width)."""
        super().__init__(width, size, bias=False, causal=causal, rngs=rngs)
        self.D = Feedthrough(jax.random.normal(rngs.params(), (width,)))

    def _slide(self, x: Array, before: int, after: int) -> Array:
        size = self.kernel.shape[0]
        kernel = self.kernel[...].at[size - 1 - self.ahead].add(self.D[...])
        x = jnp.pad(x, ((0, 0), (before, after), (0, 0)))
        return ops.causal_conv(x, jnp.flip(kernel, axis=0).T)[:, size - 1 :]
