"""Hawk, Griffin and the gated MLP: which block is which, how wide, and streams through all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.attention import Attention
from ssm_bench.mixers.rg_lru import RGLRU
from ssm_bench.network.layers import make_norm
from ssm_bench.network.scaffold import Slots
from ssm_bench.scaffolds.gated_mlp import GatedMLP
from ssm_bench.scaffolds.griffin import Griffin
from ssm_bench.scaffolds.hawk import Hawk

BATCH, LENGTH, WIDTH = 2, 11, 8
# Sums of a few dozen products in another order.
TOLERANCE = 2e-5


def make(kind, *, index=0, bidirectional=False, layers=6, mixer=None, **options):
    slots = Slots(
        d_model=WIDTH,
        mixer=mixer or (lambda width, rngs: RGLRU(width, bidirectional=bidirectional, rngs=rngs)),
        norm=lambda width: make_norm("rms", width),
        prenorm=True,
        dropout=0.1,
        tie_dropout=True,
        layers=layers,
        index=index,
    )
    return kind(slots, **options, rngs=nnx.Rngs(0))


def inputs():
    return jax.random.normal(jax.random.key(0), (BATCH, LENGTH, WIDTH))


def test_every_third_block_of_griffin_attends():
    kinds = [type(make(Griffin, index=index).mixer) for index in range(6)]
    assert kinds == [RGLRU, RGLRU, Attention, RGLRU, RGLRU, Attention]
    attention = make(Griffin, index=2, heads=2, window=5).mixer
    assert (attention.window, attention.kv_heads, attention.rotary, attention.causal) == (5, 1, True, True)
    assert not make(Griffin, index=2, bidirectional=True).mixer.causal


def test_the_mixer_need_not_fit_the_width_of_the_residual_stream():
    def mixer(width, rngs):
        assert width == 16
        return RGLRU(width, rngs=rngs)

    for index in range(3):
        make(Griffin, index=index, mixer=mixer, expand=2.0)


BLOCKS = [(GatedMLP, 0, {}), (Hawk, 0, {"expand": 2.0}), (Griffin, 1, {}), (Griffin, 2, {"window": 4, "heads": 2})]


@pytest.mark.parametrize(("kind", "index", "options"), BLOCKS)
def test_a_stream_is_the_whole_sequence(kind, index, options):
    block = make(kind, index=index, **options)
    state, parts = block.initial_state(BATCH), []
    for begin, end in ((0, 5), (5, 6), (6, LENGTH)):
        part, state = jax.jit(block.extend)(inputs()[:, begin:end], state)
        parts.append(part)
    whole = jax.jit(lambda x: block(x, None))(inputs())
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, rtol=TOLERANCE, atol=TOLERANCE)
    carried = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert sum(leaf[0].size for leaf in carried) == block.state_size


@pytest.mark.parametrize(("kind", "index", "options"), BLOCKS[1:])
def test_both_directions_look_both_ways_and_padding_reaches_nothing(kind, index, options):
    block = make(kind, index=index, bidirectional=True, **options)
    mask = jnp.broadcast_to(jnp.arange(LENGTH) < 9, (BATCH, LENGTH))

    @jax.jit
    def influence(x):
        return jax.grad(lambda x: jnp.sum(jnp.sin(block(x, mask)[:, 5])))(x)

    felt = np.abs(influence(inputs())).sum((0, 2))
    assert (felt[4:7] > 0).all() and not felt[9:].any()


@pytest.mark.parametrize(("kind", "index"), [(GatedMLP, 0), (Hawk, 0), (Griffin, 2)])
def test_every_parameter_is_felt_and_dropout_drops(kind, index):
    graph, state = nnx.split(make(kind, index=index))

    @jax.jit
    @jax.grad
    def gradients(state, key):
        return jnp.sum(jnp.sin(nnx.merge(graph, state)(inputs(), None, train=True, key=key)))

    gradient, other = (gradients(state, jax.random.key(seed)) for seed in (0, 1))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert jnp.isfinite(leaf).all() and leaf.any(), path
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True))


@pytest.mark.parametrize(("expand", "width"), [(4 / 3, 8), (2.0, 16), (0.1, 8), (2.9, 24)])
def test_widths_are_multiples_of_eight(expand, width):
    assert make(Hawk, expand=expand).mixer.state_size == width


def test_last_maps_start_smaller_in_deeper_models():
    """2 / layers in variance: a factor 5 between 2 layers and 50."""
    for kind, index, last in (
        (Hawk, 0, lambda block: block.out),
        (Griffin, 2, lambda block: block.mixer.out),
        (GatedMLP, 0, lambda block: block.mlp.out),
    ):
        shallow, deep = (last(make(kind, index=index, layers=layers)).kernel[...] for layers in (2, 50))
        np.testing.assert_allclose(5 * deep, shallow, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Hawk, {"expand": 0.0}, "expand must be above 0 .*; got 0.0"),
        (Hawk, {"expand": float("nan")}, "expand must be above 0 .*; got nan"),
        (Hawk, {"expand": float("inf")}, "expand must be above 0 .*; got inf"),
        (Hawk, {"taps": 0}, "taps .* must lie in 1..256; got 0"),
        (GatedMLP, {"mlp_expand": -1.0}, "mlp_expand times the width .* got -1.0"),
        (GatedMLP, {"mlp_expand": 1e30}, "mlp_expand times the width .* got 1e.30"),
        (Griffin, {"window": 0}, "window must be at least 1; got 0"),
        (Griffin, {"heads": 4}, "heads must divide the width 8 into multiples of 4; got 4"),
    ],
)
def test_impossible_options(kind, options, message):
    with pytest.raises(UserError, match=message):
        make(kind, **options)
