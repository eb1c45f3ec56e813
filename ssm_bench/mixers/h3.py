"""H3: queries, keys and values around a shift and a diagonal state space model."""

from flax import nnx

from ssm_bench.mixers.s4d import S4D
from ssm_bench.network.h3 import H3Layer
from ssm_bench.network.mixer import Traits


class H3(H3Layer):
    """y = W_o (q * SSM(shift(k) * v)), where q, k and v are linear in the input and the SSM is S4D.

    The first gate writes v where the shifted keys say so, the second reads where the query says so: the SSM between
    them is constant in time, what goes in and out is not. Heads are of one channel. Cost: that of S4D, an FFT for the
    shift and O(b l h^2) for the maps.

    Source: Fu et al. 2023, "Hungry hungry hippos: towards language modeling with state space models"
    (arXiv 2212.14052).
    """

    traits = Traits(parametrization="LTV", discretization="bilinear", structure="MIMO", implementation="convolution")

    def __init__(
        self,
        d_model: int,
        *,
        state_size: int = 64,
        shift_size: int = 64,
        init: str = "lin",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        discretization: str = "bilinear",
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """Creates the four maps, the shift and the S4D.

        Args:
            d_model: width h.
            state_size: of the S4D, per channel, counting both of each conjugate pair; even.
            shift_size: inputs that the shift sees.
            init: "lin", "inv", "legs" or "real": the eigenvalues that the S4D starts from.
            dt_min: smallest initial step.
            dt_max: largest initial step; log-uniform between, one per channel.
            discretization: "zoh" or "bilinear".
            bidirectional: both directions; the shift is then centered.
            rngs: random keys.

        Raises:
            UserError: an unknown choice, an odd state or an empty shift.
        """

        def ssm(width: int, rngs: nnx.Rngs) -> S4D:
            return S4D(
                width,
                state_size=state_size,
                init=init,
                dt_min=dt_min,
                dt_max=dt_max,
                discretization=discretization,
                bidirectional=bidirectional,
                rngs=rngs,
            )

        super().__init__(d_model, ssm, shift_size=shift_size, rngs=rngs)
