"""bfloat16 activations around float32 states: what keeps which type, and how far results may move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.data import spec
from ssm_bench.errors import UserError
from ssm_bench.network.build import build
from ssm_bench.network.layers import Linear, dropout, make_norm
from ssm_bench.sweep.recipe import resolve

from .test_contract import PAIRS, SHORT, WIDTH, make_block, make_mixer, toy_model

BF16 = jnp.bfloat16

# Numbers in bfloat16 are rounded by up to 2^-9 of their size. A network rounds a few dozen times, and batch norm, which
# divides by the spread between few positions of a toy, can blow that up.
CLASSIFIER = 2**-4

# Of float32; where the compiler divides and multiplies by the same number, the result may be the one next to it.
ROUNDING = 2**-23


def types(tree):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)}


@pytest.mark.parametrize(("mixer", "both", "scaffold"), PAIRS)
def test_any_block_returns_what_it_is_given_and_keeps_float32_states(mixer, both, scaffold):
    mask = jnp.ones((2, SHORT), bool)

    def run(x, key):
        block = make_block(scaffold, mixer, both=both, prenorm=not both)
        outputs = [block(x, mask), block(x, mask, train=True, key=key)]
        states = []
        if block.mixer.causal:
            states = [block.initial_state(2)]
            y, after = block.extend(x, states[0])
            outputs, states = [*outputs, y], [*states, after]
        return outputs, states, nnx.to_pure_dict(nnx.state(block))

    # Tracing decides all types; nothing is computed.
    outputs, states, variables = jax.eval_shape(run, jax.ShapeDtypeStruct((2, SHORT, WIDTH), BF16), jax.random.key(0))
    assert all((y.shape, y.dtype) == ((2, SHORT, WIDTH), BF16) for y in outputs)
    assert states[:1] == states[1:]
    assert types(states) <= {"float32", "complex64"}
    assert types(variables) == {"float32"}


def test_gradients_of_channels_count_every_position():
    # A sum of ones in bfloat16 stops at 256.
    positions = 2 * 2048.0
    x = jnp.ones((2, 2048, 4), BF16)
    layers = [Linear(4, 4, rngs=nnx.Rngs(0)), make_norm("batch", 4), make_norm("layer", 4)]
    layers += [make_mixer(name, width=4, bidirectional=False) for name in ("s4d", "lru", "linear_rnn")]
    graph, params, rest = nnx.split(layers, nnx.Param, ...)

    def loss(params):
        return sum(layer(x).astype(jnp.float32).sum() for layer in nnx.merge(graph, params, rest))

    for gradient in nnx.to_pure_dict(jax.jit(jax.grad(loss))(params)).values():
        name = "bias" if "bias" in gradient else "D"
        np.testing.assert_allclose(gradient[name], np.full(4, positions), rtol=ROUNDING)


def test_dropout_scales_by_the_rate_itself():
    x = 1 + jax.random.uniform(jax.random.key(0), (1, 4096, 4)).astype(BF16)
    kept = dropout(x, 0.1, jax.random.key(1)).astype(jnp.float32)
    ratio = kept.sum() / jnp.where(kept > 0, x.astype(jnp.float32), 0).sum()
    # 0.9 in bfloat16 is 0.8984, 2e-3 off; roundings of single values average out.
    np.testing.assert_allclose(ratio, 1 / 0.9, rtol=2e-4)


def run(model, task, precision, *overrides):
    """Logits, gradients of a loss, and batch statistics after a step of a toy classifier."""
    (graph, params, stats, *_), tokens, lengths = toy_model(
        model, task, f"--config.model.precision={precision}", *overrides
    )

    def step(params):
        classifier = nnx.merge(graph, params, stats)
        logits = classifier(tokens, lengths, train=True)
        return jnp.sum(jnp.sin(logits) * jnp.arange(logits.shape[1])), (logits, nnx.state(classifier, nnx.BatchStat))

    gradients, (logits, after) = jax.jit(jax.grad(step, has_aux=True))(params)
    return logits, gradients, after


@pytest.mark.parametrize(
    ("model", "task", "overrides"),
    [
        ("s5", "retrieval", ("--config.model.pooling=last",)),
        pytest.param(*("transformer", "image", ("--config.model.positions=sinusoidal",)), marks=pytest.mark.thorough),
    ],
)
def test_a_classifier_is_as_far_off_as_roundings_and_hands_over_float32(model, task, overrides):
    exact, half = (run(model, task, precision, *overrides) for precision in ("float32", "bf16"))
    assert types(half) == {"float32"}
    for ours, theirs in zip(half, exact, strict=True):
        if jax.tree.leaves(theirs):  # A model may have no batch statistics.
            ours, theirs = (jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(t)]) for t in (ours, theirs))
            assert 0 < jnp.linalg.norm(ours - theirs) < CLASSIFIER * jnp.linalg.norm(theirs)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_stream_of_half_precision_is_read_as_the_whole_is(pooling):
    settings = (
        "model.precision=bf16",
        f"model.pooling={pooling}",
        "model.final_norm=true",
        "mixer.bidirectional=false",
    )
    (graph, params, stats, *_), tokens, _ = toy_model("lru", "text", *(f"--config.{s}" for s in settings))
    model = nnx.merge(graph, params, stats)
    before = model.initial_state(len(tokens))
    logits, state = jax.jit(lambda state: model.extend(tokens[:, 0, :8], state))(before)
    logits, state = jax.jit(lambda state: model.extend(tokens[:, 0, 8:24], state))(state)
    assert logits.dtype == jnp.float32 and types(state) == {"float32", "complex64"}
    whole = jax.jit(model)(tokens[..., :24])
    assert jnp.linalg.norm(logits - whole) < CLASSIFIER * jnp.linalg.norm(whole)


def test_an_unknown_precision_is_told():
    with pytest.raises(UserError, match=r"precision 'fp16'.*allowed: bf16, float32"):
        resolve("s5", "listops", preset="quick", overrides=["--config.model.precision=fp16"])
    config = resolve("s5", "listops", preset="quick")
    config.model.precision = "fp16"
    with pytest.raises(UserError, match=r"precision 'fp16'.*allowed: bf16, float32"):
        build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
