"""Fourier mixing: the mixer of FNet, which has no parameters."""

from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ssm_bench import ops
from ssm_bench.errors import UserError
from ssm_bench.network.mixer import Traits, WholeMixer
from ssm_bench.ops.fourier import LONGEST


class Fourier(WholeMixer):
    """y = Re(F_n x F_h): discrete Fourier transforms over the n positions and over the h channels, real part.

    F_n[j, k] = e^(-2 pi i jk / n), with n the true length of each example. The map is linear and constant, but not
    invariant to shifts: position k of the output is frequency k. Nothing is scaled, so that y is about sqrt(n h) times
    as large as x: a norm has to follow the residual sum. Cost: O(b l h (log l + log h)); with a mask two transforms of
    about twice the size in place of one. Every output sees every input, so there is no step mode.

    Source: Lee-Thorp et al. 2021, "FNet: mixing tokens with Fourier transforms" (arXiv 2105.03824).
    """

    traits = Traits(parametrization="LTV", discretization="none", structure="MIMO", implementation="Fourier transform")

    def __init__(self, d_model: int, *, rngs: nnx.Rngs):
        """Creates nothing: there are no options and no parameters.

        Args:
            d_model: width h.
            rngs: random keys, of which none is taken.
        """

    def __call__(
        self, x: Float[Array, "b l h"], mask: Bool[Array, "b l"] | None = None, *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "b l h"]:
        """(b, l, h) -> (b, l, h), each example transformed at its true length.

        Raises:
            UserError: more than 65,536 positions with a mask.
        """
        if mask is None:
            return ops.fourier_mixing(x)
        if x.shape[1] > LONGEST:
            raise UserError(f"Fourier takes at most {LONGEST} positions with a mask; got {x.shape[1]}")
        return ops.fourier_mixing(x, mask.sum(-1))
