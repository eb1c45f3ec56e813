"""The classifiers of lindermanlab/S5, with conjugate symmetry as in all of its experiments."""

import numpy as np
from flax import nnx

from ssm_bench.interop.classifier import classifier, count_layers
from ssm_bench.interop.places import Built, Place, matrix, sizes
from ssm_bench.mixers.s5 import S5


def build(
    arrays: dict[str, np.ndarray],
    *,
    activation: str = "",
    clip_eigs: bool = False,
    discretization: str = "zoh",
    bn_momentum: float = 0.95,
    prenorm: bool = True,
) -> Built:
    """The model, which takes ids or channels, and the places of parameters and of batch statistics.

    Args:
        arrays: parameters by name.
        activation: "half_glu1", "half_glu2", "full_glu" or "gelu"; empty: inferred from the arrays.
        clip_eigs: the real part of Lambda is stopped at -1e-4.
        discretization: "zoh" or "bilinear".
        bn_momentum: decay of the running statistics.
        prenorm: norm before the branch.
    """
    inputs, width = matrix(arrays, "encoder/encoder/kernel")
    states = sizes(arrays, "encoder/layers_0/seq/Lambda_re", 1)[0]
    layers = count_layers(arrays)
    for layer in range(layers):
        _split_joint_output(arrays, f"encoder/layers_{layer}/seq", states)
    bidirectional = "encoder/layers_0/seq/C1" in arrays
    if not activation:
        gates = [gate for gate in ("out1", "out2") if f"encoder/layers_0/{gate}/kernel" in arrays]
        activation = {0: "gelu", 1: "half_glu1", 2: "full_glu"}[len(gates)]
    ours = {"full_glu": "glu"}.get(activation, activation)

    def mixer(width: int, rngs: nnx.Rngs) -> S5:
        return S5(
            width,
            state_size=2 * states,
            clip_eigenvalues=clip_eigs,
            discretization=discretization,
            bidirectional=bidirectional,
            rngs=rngs,
        )

    model, places, statistics = classifier(
        arrays, inputs, width, layers, mixer, ours, norm="norm", decay=bn_momentum, prenorm=prenorm, pooling="mean"
    )
    for layer, block in enumerate(model.blocks):
        name, ssm = f"encoder/layers_{layer}/seq", block.mixer
        places |= {
            f"{name}/Lambda_re": Place(ssm.lambda_real, (states,)),
            f"{name}/Lambda_im": Place(ssm.lambda_imag, (states,)),
            f"{name}/B": Place(ssm.B, (states, width, 2)),
            f"{name}/D": Place(ssm.D, (width,)),
            f"{name}/log_step": Place(ssm.log_dt, (states, 1)),
        }
        for index, output in enumerate(("C1", "C2") if bidirectional else ("C",)):
            places[f"{name}/{output}"] = Place(ssm.C, (width, states, 2), (index,))
    return Built(model, places, statistics, inputs)


def _split_joint_output(arrays: dict[str, np.ndarray], name: str, states: int) -> None:
    """With C_init "complex_normal" both directions share one array (h, 2 p, 2): takes it apart."""
    joint = arrays.get(f"{name}/C")
    if joint is not None and joint.ndim == 3 and joint.shape[1] == 2 * states:
        del arrays[f"{name}/C"]
        arrays[f"{name}/C1"], arrays[f"{name}/C2"] = joint[:, :states], joint[:, states:]
