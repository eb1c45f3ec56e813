"""What every mixer, scaffold and experiment keeps; new ones are found and tested without a line here."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import registry
from ssm_bench.config import experiment_names
from ssm_bench.data import spec
from ssm_bench.network.build import build, options_of, split
from ssm_bench.network.layers import make_norm
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import ROLES
from ssm_bench.network.scaffold import Scaffold, Slots
from ssm_bench.sweep.cells import Cell, Choices, opened

# float32 sums over a few dozen positions, in another order when padded or run step by step.
TOLERANCE = 2e-5
TOLERANCE_FLOAT64 = 1e-10

# jax.nn.dot_product_attention takes its softmax in float32 whatever it is given.
FLOAT32_INSIDE = {"attention"}

MIXERS = registry.names("models")
SCAFFOLDS = registry.names("scaffolds")
BATCH, LENGTH, WIDTH = 3, 23, 8


def make_mixer(name, **options):
    kind = registry.subclass("models", name, Mixer)
    known = options_of(kind)
    small = {"state_size": 4, "blocks": 1, "heads": 2}
    options = {k: v for k, v in (small | options).items() if k in known}
    return kind(WIDTH, **options, rngs=nnx.Rngs(0))


def apply(mixer, *arguments):
    """Calls a mixer in one compiled program."""
    graph, state = nnx.split(mixer)
    return jax.jit(lambda state, *arguments: nnx.merge(graph, state)(*arguments))(state, *arguments)


def inputs(length=LENGTH, seed=0):
    return jax.random.normal(jax.random.key(seed), (BATCH, length, WIDTH))


def directions(name):
    """The values of `bidirectional` that a mixer takes."""
    takes = "bidirectional" in options_of(registry.subclass("models", name, Mixer))
    return (False, True) if takes else (None,)


CASES = [(name, both) for name in MIXERS for both in directions(name)]


@pytest.mark.parametrize(("name", "both"), CASES)
def test_a_mixer_keeps_shape_and_padding_reaches_no_true_position(name, both):
    mixer = make_mixer(name, bidirectional=both)
    x = inputs()
    short = apply(mixer, x)
    assert short.shape == x.shape and short.dtype == x.dtype
    padded = jnp.concatenate([x, 100 * inputs(9, seed=1)], 1)
    mask = jnp.broadcast_to(jnp.arange(LENGTH + 9) < LENGTH, padded.shape[:2])
    np.testing.assert_allclose(apply(mixer, padded, mask)[:, :LENGTH], short, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "both"), CASES)
def test_causality_is_what_the_mixer_says(name, both):
    mixer = make_mixer(name, bidirectional=both)
    probe = 11
    influence = jax.jit(jax.grad(lambda x: mixer(x)[:, probe].sum()))(inputs())
    later = np.abs(influence[:, probe + 1 :]).max()
    assert np.abs(influence[:, : probe + 1]).max() > 0
    # A convolution by FFT leaks rounding; nothing else may.
    assert later < TOLERANCE if mixer.causal else later > TOLERANCE


CAUSAL = [name for name, both in CASES if both is not True and make_mixer(name, bidirectional=both).causal]


def real_numbers(state):
    """Real numbers a sequence in a state; flags and counters are none."""
    floats = [s for s in jax.tree.leaves(state) if jnp.issubdtype(s.dtype, jnp.inexact)]
    return sum(np.prod(s.shape[1:], dtype=int) * (2 if jnp.iscomplexobj(s) else 1) for s in floats)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_steps_and_chunks_equal_the_whole_sequence(name, dtype):
    tolerance = TOLERANCE if dtype == jnp.float32 or name in FLOAT32_INSIDE else TOLERANCE_FLOAT64
    with jax.enable_x64(dtype == jnp.float64):
        mixer = make_mixer(name, bidirectional=False)
        nnx.update(mixer, jax.tree.map(lambda a: jnp.asarray(a, dtype), nnx.state(mixer, nnx.Param)))
        x = jnp.asarray(inputs(), dtype)
        whole = mixer(x)
        assert whole.dtype == dtype
        state, outputs = mixer.initial_state(BATCH), []
        for t in range(3):
            y_t, state = mixer.step(x[:, t], state)
            outputs.append(y_t[:, None])
        for begin, end in ((3, 8), (8, LENGTH)):
            y, state = mixer.extend(x[:, begin:end], state)
            outputs.append(y)
        np.testing.assert_allclose(jnp.concatenate(outputs, 1), whole, rtol=tolerance, atol=tolerance)
        if mixer.state_size is not None:
            assert real_numbers(state) == mixer.state_size


@pytest.mark.parametrize("name", [name for name, both in CASES if both])
def test_a_bidirectional_mixer_says_that_it_has_no_step_mode(name):
    mixer = make_mixer(name, bidirectional=True)
    with pytest.raises(TypeError, match="no step mode"):
        mixer.initial_state(1)
    with pytest.raises(TypeError, match="no step mode"):
        mixer.step(jnp.zeros((1, WIDTH)), None)


@pytest.mark.parametrize("scaffold", SCAFFOLDS)
@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("prenorm", [True, False])
def test_any_mixer_sits_in_any_scaffold(mixer, scaffold, prenorm):
    slots = Slots(
        d_model=WIDTH,
        mixer=lambda width, rngs: make_mixer(mixer),
        norm=lambda width: make_norm("batch", width),
        prenorm=prenorm,
        dropout=0.1,
        tie_dropout=True,
        layers=1,
    )
    block = registry.subclass("scaffolds", scaffold, Scaffold)(slots, rngs=nnx.Rngs(0))
    assert isinstance(block.mixer, Mixer)
    mask = jnp.arange(LENGTH) < jnp.array([[LENGTH], [5], [1]])
    y = block(inputs(), mask, train=True, key=jax.random.key(0))
    assert y.shape == (BATCH, LENGTH, WIDTH) and np.isfinite(y).all()


@pytest.mark.parametrize("package", ["models", "scaffolds"])
def test_every_option_has_a_default_that_can_be_overridden(package):
    interface = Mixer if package == "models" else Scaffold
    for name in registry.names(package):
        for option, default in options_of(registry.subclass(package, name, interface)).items():
            assert isinstance(default, bool | int | float | str), f"{name}.{option}: {default!r}"
            assert default is not inspect.Parameter.empty


def toy_model(model, task, **choices):
    """A toy-size model and its data: (Split, tokens, lengths)."""
    sizes = ("--config.model.d_model=8", "--config.task.examples=8", "--config.task.max_length=64")
    chosen = Choices(preset="quick", data="synthetic", overrides=sizes, **choices)
    config, dataset = opened(chosen.config(Cell(model=model, task=task, seed=0)))
    vocab_size = dataset.vocab_size or 256
    model = build(config, dataset.spec, vocab_size=vocab_size, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    tokens, lengths = dataset.padded()
    rows = dataset.documents[dataset.splits["train"][:4]]
    return split(model), jnp.asarray(tokens[rows]), jnp.asarray(lengths[rows]).clip(max=40)


@partial(jax.jit, static_argnums=0, static_argnames="train")
def outputs(graph, params, stats, tokens, lengths, *, train=False):
    """Logits, and batch statistics after the call."""
    model = nnx.merge(graph, params, stats)
    return model(tokens, lengths, train=train), nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))


def close(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.fixture(scope="module", params=[*((model, "text") for model in experiment_names()), ("s5", "retrieval")])
def toy(request):
    """A toy-size model of every experiment on one task, and one with two documents an example."""
    return toy_model(*request.param)


def test_padding_never_changes_an_output_under_the_strict_protocol(toy):
    (graph, params, stats, *_), tokens, lengths = toy
    tokens = tokens[..., :40]
    longer = jnp.concatenate([tokens, jnp.full_like(tokens[..., :20], 3)], -1)
    for train in (False, True):
        short = outputs(graph, params, stats, tokens, lengths, train=train)
        jax.tree.map(close, outputs(graph, params, stats, longer, lengths, train=train), short)


def test_an_example_is_classified_alone_as_in_its_batch(toy):
    (graph, params, stats, *_), tokens, lengths = toy
    together, _ = outputs(graph, params, stats, tokens, lengths)
    alone = [outputs(graph, params, stats, tokens[i : i + 1], lengths[i : i + 1])[0] for i in range(len(tokens))]
    close(jnp.concatenate(alone), together)


def test_compiled_equals_eager(toy):
    (graph, params, stats, *_), tokens, lengths = toy
    compiled, _ = outputs(graph, params, stats, tokens, lengths)
    with jax.disable_jit():
        close(nnx.merge(graph, params, stats)(tokens, lengths), compiled)


def test_gradients_are_finite_and_reach_every_parameter(toy):
    parts, tokens, lengths = toy

    @jax.jit
    def gradient(params):
        def loss(params):
            logits = nnx.merge(parts.graph, params, parts.stats)(tokens, lengths)
            return jnp.sum(jnp.sin(logits) * jnp.arange(1.0, logits.size + 1).reshape(logits.shape))

        return jax.grad(loss)(params)

    for path, values in jax.tree_util.tree_leaves_with_path(gradient(parts.params)):
        assert np.isfinite(values).all(), path
        assert np.abs(values).max() > 0, f"no gradient reaches {jax.tree_util.keystr(path)}"
    assert set(jax.tree.leaves(parts.roles)) <= set(ROLES)


def test_the_paper_protocol_lets_padding_in_for_models_with_batch_norm():
    (graph, params, stats, *_), tokens, lengths = toy_model("s5", "text", protocol="paper")
    lengths = lengths.clip(max=30)
    padded, _ = outputs(graph, params, stats, tokens[..., :40], lengths)
    short, _ = outputs(graph, params, stats, tokens[..., :30], lengths)
    assert np.abs(padded - short).max() > TOLERANCE


def test_the_paper_protocol_of_s4d_lets_padding_into_batch_statistics_only():
    (graph, params, stats, *_), tokens, lengths = toy_model("s4d", "text", protocol="paper")
    lengths = lengths.clip(max=30)
    long, short = tokens[..., :40], tokens[..., :30]
    close(outputs(graph, params, stats, long, lengths)[0], outputs(graph, params, stats, short, lengths)[0])
    (_, with_padding), (_, without) = (outputs(graph, params, stats, t, lengths, train=True) for t in (long, short))
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), with_padding, without)
    assert max(jax.tree.leaves(differences)) > TOLERANCE


@pytest.mark.parametrize("task", registry.names("tasks"))
def test_synthetic_data_of_every_task_fit_the_backbone(task):
    (graph, params, stats, *_), tokens, lengths = toy_model("lru", task)
    logits, _ = outputs(graph, params, stats, tokens, lengths)
    assert logits.shape == (4, spec(task).classes)
