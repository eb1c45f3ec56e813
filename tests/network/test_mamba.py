"""The scaffold of Mamba: its formula written out, its convolution, and its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.data import spec
from ssm_bench.errors import UserError
from ssm_bench.mixers.lru import LRU
from ssm_bench.mixers.s6 import S6
from ssm_bench.mixers.ssd import SSD
from ssm_bench.network.build import build
from ssm_bench.network.layers import make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.mamba import Mamba
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training.step import count_parameters

BATCH, LENGTH, WIDTH = 2, 13, 4
# Two orders of the same float32 sums of some tens of terms.
TOLERANCE = 1e-5

MIXERS = {
    "s6": lambda width, both, rngs: S6(width, state_size=4, bidirectional=both, rngs=rngs),
    "ssd": lambda width, both, rngs: SSD(width, state_size=4, heads=2, bidirectional=both, rngs=rngs),
    "lru": lambda width, both, rngs: LRU(width, state_size=4, bidirectional=both, rngs=rngs),
}


def block(mixer="s6", *, both=False, prenorm=True, layers=1, d_model=WIDTH, **options):
    slots = Slots(
        d_model=d_model,
        mixer=lambda width, rngs: MIXERS[mixer](width, both, rngs),
        norm=lambda width: make_norm("layer", width),
        prenorm=prenorm,
        dropout=0.0,
        tie_dropout=True,
        layers=layers,
    )
    return Mamba(slots, **options, rngs=nnx.Rngs(0))


def inputs():
    return jax.random.normal(jax.random.key(1), (BATCH, LENGTH, WIDTH))


def close(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=TOLERANCE, atol=TOLERANCE)


def written_out(b, x):
    """The published formulas, part by part."""
    silu = lambda v: v / (1 + np.exp(-v))  # noqa: E731
    conv, mixer = jax.jit(b.conv), jax.jit(b.mixer)
    y = np.asarray(b.residual.norm(x)) if b.residual.prenorm else np.asarray(x)
    u, z = np.split(y @ np.asarray(b.expand.kernel[...]), 2, axis=-1)
    y = np.asarray(mixer(silu(np.asarray(conv(u))))) * silu(z)
    if b.gated_norm is not None:
        y = y / np.sqrt((y**2).mean(-1, keepdims=True) + 1e-5) * np.asarray(b.gated_norm.scale[...])
    y = y @ np.asarray(b.contract.kernel[...])
    if b.glu is not None:
        value, gate = np.split(np.asarray(b.glu(jax.nn.gelu(y))), 2, axis=-1)
        y = value / (1 + np.exp(-gate))
    return np.asarray(x) + y if b.residual.prenorm else np.asarray(b.residual.norm(x + y))


@pytest.mark.parametrize(
    "options",
    [{}, {"norm_gated": True, "mixer": "ssd"}, {"glu": True, "prenorm": False, "expand": 2.5}],
    ids=["Mamba", "Mamba-2", "S6 of the table"],
)
def test_the_block_is_its_formula(options):
    b = block(**options)
    close(jax.jit(lambda x: b(x, None))(inputs()), written_out(b, inputs()))


@pytest.mark.parametrize("mixer", MIXERS)
def test_chunks_of_a_stream_are_the_whole(mixer):
    b, x = block(mixer), inputs()

    @jax.jit
    def both(x):
        first, state = b.extend(x[:, :1], b.initial_state(BATCH))
        rest, _ = b.extend(x[:, 1:], state)
        return jnp.concatenate([first, rest], 1), b(x, None)

    close(*both(x))
    # Three inputs before the present one, for four taps.
    assert b.state_size == b.mixer.state_size + 3 * 2 * WIDTH


def influence(b, x, position):
    """How much the block's output at a position feels each position of x (b, l, h)."""
    return jnp.abs(jax.jit(jax.grad(lambda x: jnp.sum(b(x, None)[:, position] ** 2)))(x)).sum((0, 2))


@pytest.mark.parametrize("mixer", ["s6", "ssd"])
def test_both_directions_see_both_sides_and_no_padding(mixer):
    b, x = block(mixer, both=True), inputs()
    assert b.conv.ahead == 2
    assert influence(b, x, 6).min() > 0
    mask = jnp.arange(LENGTH) < jnp.array([[9], [5]])
    run = jax.jit(lambda x: jnp.where(mask[..., None], b(x, mask), 0))
    close(run(jnp.where(mask[..., None], x, 100)), run(x))
    with pytest.raises(TypeError, match="not causal"):
        b.initial_state(1)


def test_a_causal_mixer_keeps_its_block_causal():
    felt = influence(block(), inputs(), 6)
    assert felt[:7].min() > 0 and felt[7:].max() == 0


def test_the_branch_shrinks_with_the_depth():
    shallow, deep = block(layers=1), block(layers=16)
    close(deep.contract.kernel[...], shallow.contract.kernel[...] / 4)


@pytest.mark.parametrize(("expand", "width"), [(2.0, 8), (2.5, 10), (0.5, 2)])
def test_the_width_of_the_mixer(expand, width):
    assert block("lru", expand=expand).expand.kernel.shape == (WIDTH, 2 * width)


def test_the_recipe_has_the_published_number_of_parameters():
    """634K on ListOps (fluderm/MLRA@ea30f9e, Mamba_report.pdf, Table 1), with some twenty symbols."""
    config = resolve("mamba", "listops", preset="paper")
    model = nnx.eval_shape(lambda: build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0)))
    assert round(count_parameters(nnx.state(model, nnx.Param)) / 1000) == 634


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"expand": 0.1}, "expand times the width 4 must be a width of 1 to 16777216; got 0.1"),
        ({"expand": float("nan")}, "expand times the width 4 .* got nan"),
        ({"taps": 0}, r"taps of a short convolution must lie in 1\.\.256; got 0"),
        ({"taps": 100_000}, r"taps of a short convolution must lie in 1\.\.256; got 100000"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        block(**options)
