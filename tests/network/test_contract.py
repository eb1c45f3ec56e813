"""What every mixer, scaffold and experiment keeps; new ones are found and tested without a line here."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import registry
from ssm_bench.config import experiment_names
from ssm_bench.data import load
from ssm_bench.network.build import build, options_of
from ssm_bench.network.layers import make_norm
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import ROLES
from ssm_bench.network.scaffold import Scaffold, Slots
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.train.optimizer import roles

# float32 sums over a few dozen positions, in another order when padded or run step by step.
TOLERANCE = 2e-5

MIXERS = registry.names("models")
SCAFFOLDS = registry.names("scaffolds")
BATCH, LENGTH, WIDTH = 3, 23, 8


def make_mixer(name, **options):
    kind = registry.subclass("models", name, Mixer)
    known = options_of(kind)
    small = {"state_size": 4, "blocks": 1, "heads": 2}
    options = {k: v for k, v in (small | options).items() if k in known}
    return kind(WIDTH, **options, rngs=nnx.Rngs(0))


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
    short = mixer(x)
    assert short.shape == x.shape and short.dtype == x.dtype
    padded = jnp.concatenate([x, 100 * inputs(9, seed=1)], 1)
    mask = jnp.broadcast_to(jnp.arange(LENGTH + 9) < LENGTH, padded.shape[:2])
    np.testing.assert_allclose(mixer(padded, mask)[:, :LENGTH], short, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "both"), CASES)
def test_causality_is_what_the_mixer_says(name, both):
    mixer = make_mixer(name, bidirectional=both)
    probe = 11
    influence = jax.grad(lambda x: mixer(x)[:, probe].sum())(inputs())
    later = np.abs(influence[:, probe + 1 :]).max()
    assert np.abs(influence[:, : probe + 1]).max() > 0
    # A convolution by FFT leaks rounding; nothing else may.
    assert later < TOLERANCE if mixer.causal else later > TOLERANCE


@pytest.mark.parametrize(
    "name", [name for name, both in CASES if both is not True and make_mixer(name, bidirectional=both).causal]
)
def test_steps_equal_the_whole_sequence(name):
    mixer = make_mixer(name, bidirectional=False)
    x = inputs()
    state, outputs = mixer.initial_state(BATCH), []
    for t in range(LENGTH):
        y_t, state = mixer.step(x[:, t], state)
        outputs.append(y_t)
    np.testing.assert_allclose(jnp.stack(outputs, 1), mixer(x), rtol=TOLERANCE, atol=TOLERANCE)
    if mixer.state_size is not None:
        values = sum(np.prod(s.shape) * (2 if jnp.iscomplexobj(s) else 1) for s in jax.tree.leaves(state))
        assert values == BATCH * mixer.state_size


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


@pytest.fixture(scope="module", params=[(m, t) for m in experiment_names() for t in ("text", "retrieval")])
def toy(request):
    """A toy-size model of every experiment, with data of two tasks."""
    model, task = request.param
    sizes = ("--config.model.d_model=8", "--config.task.examples=8", "--config.task.max_length=64")
    choices = Choices(preset="quick", data="synthetic", overrides=sizes)
    config, dataset = opened(choices.config(Cell(model=model, task=task, seed=0)))
    classifier = build(config, dataset.spec, vocab_size=dataset.vocab_size, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    tokens, lengths = dataset.padded()
    rows = dataset.documents[dataset.splits["train"][:4]]
    return classifier, jnp.asarray(tokens[rows]), jnp.asarray(lengths[rows]).clip(max=40)


def test_padding_never_changes_an_output_under_the_strict_protocol(toy):
    classifier, tokens, lengths = toy
    short = classifier(tokens[..., :40], lengths)
    rubbish = jnp.full_like(tokens[..., :20], 3)
    longer = jnp.concatenate([tokens[..., :40], rubbish], -1)
    np.testing.assert_allclose(classifier(longer, lengths), short, rtol=TOLERANCE, atol=TOLERANCE)
    graph, state = nnx.split(classifier)
    for part, whole in zip(
        jax.tree.leaves(trained_stats(graph, state, longer, lengths)),
        jax.tree.leaves(trained_stats(graph, state, tokens[..., :40], lengths)),
        strict=True,
    ):
        np.testing.assert_allclose(part, whole, rtol=TOLERANCE, atol=TOLERANCE)


def trained_stats(graph, state, tokens, lengths):
    """Batch statistics after one call in training."""
    # Merging a pure tree copies; merging a State would share its variables with the next call.
    model = nnx.merge(graph, nnx.to_pure_dict(state))
    model(tokens, lengths, train=True)
    return nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))


def test_an_example_is_classified_alone_as_in_its_batch(toy):
    classifier, tokens, lengths = toy
    together = classifier(tokens, lengths)
    alone = jnp.concatenate([classifier(tokens[i : i + 1], lengths[i : i + 1]) for i in range(len(tokens))])
    np.testing.assert_allclose(alone, together, rtol=TOLERANCE, atol=TOLERANCE)


def test_compiled_equals_eager_and_gradients_are_finite_and_reach_every_parameter(toy):
    classifier, tokens, lengths = toy
    graph, params, rest = nnx.split(classifier, nnx.Param, ...)

    def logits(params):
        return nnx.merge(graph, params, rest)(tokens, lengths)

    np.testing.assert_allclose(jax.jit(logits)(params), logits(params), rtol=TOLERANCE, atol=TOLERANCE)
    weights = jnp.arange(1.0, logits(params).size + 1).reshape(logits(params).shape)
    gradients = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(logits(p)) * weights)))(params)
    for path, gradient in nnx.to_flat_state(gradients):
        assert np.isfinite(gradient[...]).all(), path
        assert np.abs(gradient[...]).max() > 0, f"no gradient reaches {path}"
    assert set(jax.tree.leaves(roles(classifier))) <= set(ROLES)


def test_the_paper_protocol_lets_padding_in_for_models_with_batch_norm():
    choices = Choices(preset="quick", data="synthetic", protocol="paper", overrides=("--config.task.examples=8",))
    config, dataset = opened(choices.config(Cell(model="s5", task="text", seed=0)))
    classifier = build(config, dataset.spec, vocab_size=dataset.vocab_size, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    tokens, lengths = dataset.padded()
    tokens, lengths = jnp.asarray(tokens[:2, None, :40]), jnp.full((2, 1), 30)
    difference = classifier(tokens, lengths) - classifier(tokens[..., :30], lengths)
    assert np.abs(difference).max() > TOLERANCE


def test_synthetic_data_of_every_task_fit_the_backbone():
    for task in registry.names("tasks"):
        dataset = load(task, data="synthetic", examples=8)
        config, _ = opened(Choices(preset="quick", data="synthetic").config(Cell(model="s5", task=task, seed=0)))
        model = build(config, dataset.spec, vocab_size=dataset.vocab_size or 256, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
        tokens, lengths = dataset.padded()
        rows = dataset.documents[:2]
        logits = model(jnp.asarray(tokens[rows]), jnp.asarray(lengths[rows]))
        assert logits.shape == (2, dataset.spec.classes)
