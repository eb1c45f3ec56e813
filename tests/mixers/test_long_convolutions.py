"""LongConv and SGConv: direct sums in float64 over kernels made tap by tap, the authors' SGConv, and step mode."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import testing
from ssm_bench.errors import UserError
from ssm_bench.mixers.long_conv import LongConv
from ssm_bench.mixers.sgconv import SGConv

GOLDEN = Path(__file__).parents[1] / "golden"
LENGTH, WIDTH = 11, 3
# FFT and interpolation in float32.
FLOAT32 = 1e-5


def squashed(mixer):
    return np.array(
        [np.sign(k) * max(abs(k) - mixer.threshold, 0) for k in np.asarray(mixer.kernel[...], float).flat]
    ).reshape(mixer.kernel.shape)


def joined(mixer):
    """Linear interpolation between the centers of the numbers of a piece, held constant at its ends."""
    pieces, parts = np.asarray(mixer.pieces[...], float), []
    for i, piece in enumerate(pieces):
        factor = 2 ** max(0, i - 1)
        at = (np.arange(piece.shape[-1] * factor) + 0.5) / factor - 0.5
        stretched = [np.interp(at, np.arange(piece.shape[-1]), row) for row in piece.reshape(-1, piece.shape[-1])]
        parts.append(mixer.decay ** (len(pieces) - 1 - i) * np.array(stretched).reshape(*piece.shape[:-1], -1))
    kernel = np.concatenate(parts, -1)
    return kernel / np.linalg.norm(kernel, axis=-1, keepdims=True)


def direct(kernels, D, x):
    y = x * D
    for t, s in np.ndindex(len(x), len(x)):
        if s <= t:
            y[t] += kernels[0, :, t - s] * x[s]
        elif len(kernels) == 2:
            y[t] += kernels[1, :, s - t - 1] * x[s]
    return y


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("kind", "options", "kernel"),
    [
        (LongConv, {"init": "double_exp", "threshold": 0.01}, squashed),
        (LongConv, {"init": "double_exp", "threshold": 0.001, "window": 4}, squashed),
        (SGConv, {"piece": 2}, joined),
    ],
)
def test_it_is_the_direct_sum(kind, options, kernel, bidirectional):
    mixer = kind(WIDTH, **options, bidirectional=bidirectional, max_length=LENGTH, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(LENGTH, WIDTH))
    kernels = kernel(mixer)
    # Taps that are not there are zero.
    kernels = np.pad(kernels, ((0, 0), (0, 0), (0, max(0, LENGTH - kernels.shape[-1]))))
    assert np.abs(kernels[..., 1:LENGTH]).max() > 1e-3
    y = jax.jit(mixer)(jnp.asarray(x[None], jnp.float32))[0]
    np.testing.assert_allclose(y, direct(kernels, np.asarray(mixer.D[...], float), x), rtol=FLOAT32, atol=FLOAT32)


def test_sgconv_is_the_authors():
    arrays = np.load(GOLDEN / "sgconv.npz")
    count, directions, width, piece = arrays["pieces"].shape
    mixer = SGConv(width, piece=piece, bidirectional=directions == 2, max_length=arrays["x"].shape[1], rngs=nnx.Rngs(0))
    assert mixer.pieces.shape[0] == count
    mixer.pieces[...], mixer.norm[...], mixer.D[...] = arrays["pieces"], arrays["norm"], arrays["D"]
    graph, params, rest = nnx.split(mixer, nnx.Param, ...)

    @jax.jit
    def run(params, x):
        y = nnx.merge(graph, params, rest)(x)
        return (y * arrays["cotangent"]).sum(), y

    (_, y), gradients = jax.value_and_grad(run, has_aux=True)(params, arrays["x"])
    for ours, theirs in (
        (y, arrays["y"]),
        (gradients["pieces"][...], arrays["pieces_gradient"]),
        (gradients["D"][...], arrays["D_gradient"]),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=FLOAT32, atol=FLOAT32 * np.abs(theirs).max())


def test_the_state_is_the_inputs_that_taps_still_reach():
    # A sequence longer than the kernel: the oldest inputs drop out.
    testing.check_steps(lambda: SGConv(WIDTH, piece=2, bidirectional=False, max_length=4, rngs=nnx.Rngs(0)), WIDTH)
    assert SGConv(WIDTH, piece=2, bidirectional=False, max_length=4, rngs=nnx.Rngs(0)).state_size == 3 * WIDTH


def test_kernel_dropout_is_for_training_only():
    mixer = LongConv(WIDTH, kernel_dropout=0.5, threshold=0.0, max_length=LENGTH, rngs=nnx.Rngs(0))
    x = jnp.zeros((1, LENGTH, WIDTH)).at[:, 0].set(1.0)
    run = jax.jit(lambda x, key: mixer(x, key=key)[0, 1:])
    kernel, dropped = run(x, None), run(x, jax.random.key(0))
    kept = np.abs(dropped) > 1e-6
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(dropped[kept], 2 * kernel[kept], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LongConv, {"init": "zeros"}, "init 'zeros'.*double_exp"),
        (LongConv, {"threshold": -1.0}, "threshold must be at least 0; got -1.0"),
        (LongConv, {"kernel_dropout": 1.0}, r"kernel_dropout must lie in \[0, 1\); got 1.0"),
        (SGConv, {"piece": 0}, "piece must be at least 1; got 0"),
        (SGConv, {"decay": 0.5}, "decay must be at least 1; got 0.5"),
    ],
)
def test_impossible_options(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind(WIDTH, **options, rngs=nnx.Rngs(0))
