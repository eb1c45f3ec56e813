"""The layers of state-spaces/s4: S4 and S4D with activation and output mixing, from a `state_dict`."""

from collections.abc import Callable

import jax
import numpy as np
from flax import nnx

from ssm_bench.errors import UserError, unknown_name
from ssm_bench.interop.places import Built, Place, Places, sizes
from ssm_bench.mixers.s4 import S4
from ssm_bench.mixers.s4d import S4D
from ssm_bench.network.layers import Linear

Logarithm = Callable[[np.ndarray], np.ndarray]

#: The logarithm of a positive number that the authors keep in one of these forms.
LOGARITHMS: dict[str, Logarithm] = {
    "exp": lambda x: x,
    "softplus": lambda x: np.log(np.logaddexp(0, x)),
    "none": np.log,
}


class S4Layer(nnx.Module):
    """A mixer, a GELU, and the gated linear map (W1 g) * sigmoid(W2 g) if there is one."""

    def __init__(self, mixer: S4 | S4D, width: int, *, gated: bool, rngs: nnx.Rngs):
        """Keeps the mixer and creates the linear map."""
        self.mixer = mixer
        self.output = Linear(width, 2 * width, rngs=rngs) if gated else None

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(b, l, h) -> (b, l, h)."""
        g = jax.nn.gelu(self.mixer(x, mask), approximate=False)
        return g if self.output is None else jax.nn.glu(self.output(g))


def build(
    arrays: dict[str, np.ndarray], *, disc: str = "zoh", dt_transform: str = "exp", real_transform: str = "exp"
) -> Built:
    """The layer, and the places of its parameters.

    Takes an `S4Block` or `FFTConv` of models/s4/s4.py, or the `S4D` of models/s4/s4d.py, which has no options. It is
    S4 where the arrays have a P, else S4D; bidirectional where they have two C.

    Args:
        arrays: parameters by name.
        disc: discretization of S4D, "zoh" or "bilinear"; S4 is bilinear.
        dt_transform: what makes the step size of what is stored: "exp", "softplus" or "none".
        real_transform: what makes the decay rates of what is stored, likewise.
    """
    for option, name in (("dt_transform", dt_transform), ("real_transform", real_transform)):
        if name not in LOGARITHMS:
            raise unknown_name(f"option {option}", name, LOGARITHMS)
    if "kernel.log_A_real" in arrays:
        mixer, places = _minimal(arrays)
    else:
        mixer, places = _block(arrays, disc, LOGARITHMS[dt_transform], LOGARITHMS[real_transform])
    width = mixer.D.shape[0]
    layer = S4Layer(mixer, width, gated="output_linear.0.weight" in arrays, rngs=nnx.Rngs(0))
    if layer.output is not None and layer.output.bias is not None:
        # A convolution of one tap is the same map with one axis more.
        shape = (2 * width, width, 1)[: max(2, arrays["output_linear.0.weight"].ndim)]
        weight = Place(layer.output.kernel, shape, convert=lambda weight: weight.reshape(2 * width, width).T)
        places |= {"output_linear.0.weight": weight, "output_linear.0.bias": Place(layer.output.bias, (2 * width,))}
    return Built(layer, places, {}, width)


def _block(
    arrays: dict[str, np.ndarray], disc: str, log_dt: Logarithm, log_decay: Logarithm
) -> tuple[S4 | S4D, Places]:
    layer = "layer." if "layer.D" in arrays else ""
    kernel = f"{layer}kernel."
    directions, width, modes, _ = sizes(arrays, f"{kernel}C", 4)
    copies, _ = sizes(arrays, f"{kernel}A_real", 2)
    options = {"state_size": 2 * modes, "copies": copies, "bidirectional": directions == 2, "rngs": nnx.Rngs(0)}
    length = _length(arrays.pop(f"{kernel}l_kernel", np.zeros(())), f"{kernel}l_kernel")
    if length or f"{kernel}P" in arrays:
        init = "legs" if sizes(arrays, f"{kernel}P", 4)[0] == 1 else "legt"
        mixer, places = S4(width, init=init, max_length=length, **options), {}
        places[f"{kernel}P"] = Place(mixer.P, mixer.P.shape)
    else:
        mixer, places = S4D(width, discretization=disc, **options), {}

    return mixer, places | {
        f"{kernel}A_real": Place(mixer.log_decay, (copies, modes), convert=log_decay),
        f"{kernel}A_imag": Place(mixer.frequency, (copies, modes), convert=np.negative),
        f"{kernel}B": Place(mixer.B, (1, copies, modes, 2)),
        f"{kernel}C": Place(mixer.C, mixer.C.shape),
        f"{kernel}inv_dt": Place(mixer.log_dt, (width, 1), convert=log_dt),
        f"{layer}D": Place(mixer.D, (1, width)),
    }


def _length(array: np.ndarray, name: str) -> int:
    """The length that the authors' C is truncated for; 0: for none yet."""
    if array.size != 1 or not 0 <= array.item() < np.inf or array.item() % 1:
        raise UserError(f"parameter {name} must be one whole number, 0 or more; got {array.tolist()!r:.60}")
    return int(array.item())


def _minimal(arrays: dict[str, np.ndarray]) -> tuple[S4D, Places]:
    width, modes = sizes(arrays, "kernel.log_A_real", 2)
    # The initialization that leaves B at 1, which this layer has no array for.
    mixer = S4D(width, state_size=2 * modes, init="lin", bidirectional=False, rngs=nnx.Rngs(0))
    return mixer, {
        "kernel.log_A_real": Place(mixer.log_decay, (width, modes)),
        "kernel.A_imag": Place(mixer.frequency, (width, modes)),
        "kernel.C": Place(mixer.C, (width, modes, 2)),
        "kernel.log_dt": Place(mixer.log_dt, (width,)),
        "D": Place(mixer.D, (width,)),
    }
