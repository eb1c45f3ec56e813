"""What every mixer, scaffold and experiment keeps; new ones are found and tested without a line here."""

import contextlib
import importlib
import inspect
import re
import types
from functools import partial
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import registry, testing
from ssm_bench.config import experiment, experiment_names
from ssm_bench.data import spec, tasks
from ssm_bench.data.task import LRA
from ssm_bench.errors import UserError
from ssm_bench.mixers.lru import LRU
from ssm_bench.network.build import build, options_of, split
from ssm_bench.network.directions import RecurrentMixer
from ssm_bench.network.layers import make_norm
from ssm_bench.network.mixer import Mixer
from ssm_bench.network.parameters import ROLES
from ssm_bench.network.scaffold import Scaffold, Slots
from ssm_bench.sweep.cells import Cell, Choices, opened
from ssm_bench.testing import TOLERANCE, WIDTH
from tests.models import DISTINCT

ROOT = Path(__file__).parents[2]

# jax.nn.dot_product_attention takes its softmax in float32 whatever it is given.
FLOAT32_INSIDE = {"attention"}

# Linear and constant, but another map at every position: linear and time-varying.
LINEAR_BY_POSITION = {"fourier"}

MIXERS = registry.names("mixers")
SCAFFOLDS = registry.names("scaffolds")


def make_mixer(mixer, *, width=WIDTH, **options):
    """A small mixer, by its name or its class."""
    kind = registry.subclass("mixers", mixer, Mixer) if isinstance(mixer, str) else mixer
    known = inspect.signature(kind.__init__).parameters
    # Long steps, so that the state matters in short sequences.
    small = {"state_size": 4, "blocks": 1, "heads": 2, "shift_size": 3, "landmarks": 3, "context": 2, "block": 5}
    small |= {"dt_min": 0.1, "dt_max": 0.5}
    options = {k: v for k, v in (small | options).items() if k in known}
    return kind(width, **options, rngs=nnx.Rngs(0))


def directions(name):
    """The values of `bidirectional` to test: those that a mixer takes.

    The second direction of a `RecurrentMixer` is the same code for all of them; one stands for the others.
    """
    kind = registry.subclass("mixers", name, Mixer)
    if issubclass(kind, RecurrentMixer) and name != "s6":
        return (False,)
    return (False, True) if "bidirectional" in options_of(kind) else (None,)


CASES = [(name, both) for name in MIXERS for both in directions(name)]


#: Of a mixer with two directions, the causal version, whose padding comes last, is left to the thorough tests.
PADDED = [
    pytest.param(name, both, marks=[pytest.mark.thorough] if both is False and (name, True) in CASES else [])
    for name, both in CASES
]


@pytest.mark.parametrize(("name", "both"), PADDED)
def test_padding_reaches_no_true_position_and_causality_is_what_the_mixer_says(name, both):
    testing.check_padding(lambda width: make_mixer(name, width=width, bidirectional=both))
    testing.check_causality(make_mixer(name, bidirectional=both))


@pytest.mark.parametrize(("name", "both"), CASES)
def test_steps_and_chunks_equal_the_whole_sequence_in_double_precision(name, both):
    tolerance = testing.TOLERANCE if name in FLOAT32_INSIDE else testing.TOLERANCE_FLOAT64
    testing.check_steps(lambda: make_mixer(name, bidirectional=both), tolerance=tolerance)


#: Every mixer in a scaffold beside that of `check_padding`, and every scaffold around mixers of many kinds: all pairs
#: would take minutes, and a scaffold knows nothing of its mixer but the interface.
PAIRS = [(*case, SCAFFOLDS[place % len(SCAFFOLDS)]) for place, case in enumerate(CASES)]


def test_every_scaffold_meets_mixers_of_either_kind():
    for scaffold in SCAFFOLDS:
        assert {False, True} <= {both for _, both, other in PAIRS if other == scaffold}


SHORT = 4
RAGGED = np.arange(SHORT) < np.array([[SHORT], [3]])


def short_inputs(seed=0):
    return jax.random.normal(jax.random.key(seed), (2, SHORT, WIDTH))


def make_block(scaffold, mixer, *, both, prenorm):
    kind = registry.subclass("scaffolds", scaffold, Scaffold)
    small = {"expand": 1.0, "mlp_expand": 1.0, "shift_size": 3, "window": 3}
    slots = Slots(
        d_model=WIDTH,
        mixer=lambda width, rngs: make_mixer(mixer, width=width, bidirectional=both),
        norm=lambda width: make_norm("batch", width),
        prenorm=prenorm,
        dropout=0.1,
        tie_dropout=True,
        layers=1,
    )
    return kind(slots, **{k: v for k, v in small.items() if k in options_of(kind)}, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("mixer", "both", "scaffold"), PAIRS)
def test_any_mixer_sits_in_any_scaffold(mixer, both, scaffold):
    # Either place of the norm meets every mixer and every scaffold.
    block = make_block(scaffold, mixer, both=both, prenorm=not both)
    assert isinstance(block.mixer, Mixer)
    run, x = jax.jit(lambda x: block(x, RAGGED)), short_inputs()
    whole = run(jnp.where(RAGGED[..., None], x, np.nan))
    assert np.isfinite(whole[RAGGED]).all()
    if not block.mixer.causal:
        np.testing.assert_allclose(whole[RAGGED], run(x)[RAGGED], rtol=TOLERANCE, atol=TOLERANCE)
        with pytest.raises(TypeError, match="no step mode"):
            block.initial_state(2)
        return
    extend, before = jax.jit(block.extend), block.initial_state(2)
    first, state = extend(x[:, :2], before)
    second, after = extend(x[:, 2:], state)
    in_chunks = jnp.concatenate([first, second], 1)
    np.testing.assert_allclose(whole[RAGGED], in_chunks[RAGGED], rtol=TOLERANCE, atol=TOLERANCE)
    assert jax.tree.map(shape_and_type, before) == jax.tree.map(shape_and_type, after)
    if block.state_size is not None:
        assert testing.real_numbers(after) == block.state_size


def shape_and_type(array):
    return array.shape, array.dtype


@pytest.mark.parametrize("scaffold", SCAFFOLDS)
@pytest.mark.parametrize("prenorm", [True, False])
def test_a_scaffold_trains_with_its_norm_on_either_side(scaffold, prenorm):
    block = make_block(scaffold, "lru", both=False, prenorm=prenorm)
    x, key = short_inputs(), jax.random.key(0)
    before = block(x, RAGGED)
    y = block(jnp.where(RAGGED[..., None], x, np.nan), RAGGED, train=True, key=key)
    assert y.shape == x.shape and np.isfinite(y[RAGGED]).all()
    # Dropout is on, and batch statistics moved.
    assert np.abs(y - block(x, RAGGED, train=True, key=jax.random.key(1)))[RAGGED].max() > TOLERANCE
    assert np.abs(block(x, RAGGED) - before)[RAGGED].max() > TOLERANCE


@pytest.mark.parametrize("name", MIXERS)
def test_traits_are_what_the_mixer_does(name):
    traits = registry.subclass("mixers", name, Mixer).traits
    mixer = make_mixer(name, bidirectional=False)
    x, y = short_inputs(), short_inputs(1)
    nothing = jnp.zeros_like(x)
    graph, variables = nnx.split(mixer)
    run = jax.jit(lambda x: nnx.merge(graph, variables)(x))
    gx, silent = run(x), run(nothing)
    superposed = run(x + 2 * y) - (gx + 2 * run(y))
    delayed = run(jnp.concatenate([nothing[:, :1], x[:, :-1]], 1))[:, 1:] - gx[:, :-1]
    reached = (run(x.at[..., 0].set(0.0)) - silent)[..., 0]
    linear = np.abs(superposed).max() < TOLERANCE and np.abs(silent).max() < TOLERANCE
    assert linear == (traits.parametrization == "LTI" or name in LINEAR_BY_POSITION)
    if linear and mixer.causal:
        assert np.abs(delayed).max() < TOLERANCE
    assert traits.parametrization in ("LTI", "LTV", "nonlinear")
    assert traits.structure == ("MIMO" if np.abs(reached).max() > TOLERANCE else "SISO")


@pytest.mark.thorough
@pytest.mark.parametrize("name", MIXERS)
def test_half_precision_comes_back_as_such_and_as_far_off_as_its_rounding(name):
    testing.check_half_precision(make_mixer(name, bidirectional=True))


@pytest.mark.parametrize("name", SCAFFOLDS)
def test_a_scaffold_refuses_inputs_and_masks_of_another_shape_or_type_in_one_sentence(name):
    block = make_block(name, "lru", both=False, prenorm=True)
    takes = "takes inputs (batch, length, 8) of a float type, with at least one sequence and position"
    # A width of one would be broadcast.
    shapes = ((3, WIDTH), (0, 5, WIDTH), (3, 0, WIDTH), (3, 5, 1), (3, 5, WIDTH + 1))
    for x in (*map(jnp.zeros, shapes), jnp.zeros((3, 5, WIDTH), jnp.int32)):
        sentence = f"{type(block).__name__} {takes}; got {x.dtype} of shape {x.shape}"
        for way in (lambda x: block(x, None), lambda x: block.extend(x, block.initial_state(3))):
            with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
                way(x)
    for mask in (jnp.ones((3, 4), bool), jnp.ones((3, 1), bool), jnp.ones((3, 5))):
        with pytest.raises(UserError, match=r"takes a mask of bool \(3, 5\) for inputs \(3, 5, 8\); got "):
            block(jnp.zeros((3, 5, WIDTH)), mask)


def wrong(change):
    """An LRU whose outputs are changed."""

    class Wrong(LRU):
        def __call__(self, x, mask=None, *, key=None):
            return change(super().__call__(x, mask, key=key))

        def extend(self, x, state):
            y, state = super().extend(x, state)
            return change(y), state

    return Wrong


@pytest.mark.parametrize("name", SCAFFOLDS)
def test_a_scaffold_refuses_a_mixer_that_returns_another_shape_or_type(name):
    sentence = r"^Wrong must return the shape and type of its input, float32 \(.*; got "
    for change in (lambda y: y[:, :-1], lambda y: y[..., :1], lambda y: y.astype(jnp.bfloat16)):
        block, x = make_block(name, wrong(change), both=False, prenorm=True), short_inputs()
        with pytest.raises(UserError, match=sentence):
            jax.eval_shape(block, x, None)
        with pytest.raises(UserError, match=sentence):
            jax.eval_shape(block.extend, x, block.initial_state(2))


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_is_a_plain_module(name):
    """No class replaces methods of its subclasses: each is the function that its class defines."""
    assert Mixer.__init_subclass__.__func__ is nnx.Module.__init_subclass__.__func__
    for kind in registry.subclass("mixers", name, Mixer).__mro__:
        if issubclass(kind, Mixer):
            for method in filter(inspect.isfunction, vars(kind).values()):
                assert method.__qualname__.startswith(f"{kind.__name__}.") and not hasattr(method, "__wrapped__")


@pytest.mark.parametrize("name", MIXERS)
def test_every_option_of_a_mixer_has_a_default_that_can_be_overridden(name):
    testing.check_options(registry.subclass("mixers", name, Mixer))


@pytest.mark.parametrize("name", SCAFFOLDS)
def test_every_option_of_a_scaffold_has_a_default_that_can_be_overridden(name):
    for option, default in options_of(registry.subclass("scaffolds", name, Scaffold)).items():
        assert isinstance(default, bool | int | float | str), f"{name}.{option}: {default!r}"


def test_a_mixer_of_a_plug_in_keeps_the_contract(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "plugin")
    testing.check_mixer(importlib.import_module("ssm_bench_ema.ema").EMA)


class Careless(LRU):
    """An LRU with one mistake."""

    mistake: ClassVar[str] = ""

    def __init__(self, d_model: int, *, state_size: int = 4, rngs: nnx.Rngs):
        super().__init__(d_model, state_size=state_size, rngs=rngs)
        self.unused = nnx.Param(jnp.zeros(())) if self.mistake == "unused" else None

    def __call__(self, x, mask=None, *, key=None):
        y = super().__call__(x, mask)
        if self.mistake == "looks ahead":
            y = y + x.sum(1, keepdims=True)
        if self.mistake == "shape":
            y = y[:, :-1]
        return y + 1e-6 if self.mistake == "one pass" else y

    @property
    def state_size(self):
        return 7 if self.mistake == "size" else super().state_size


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ("", None),
        ("shape", r"the output is float32 \(3, 22, 8\), the input float32 \(3, 23, 8\)"),
        ("looks ahead", "padding reaches a true position|an output depends on a later input"),
        ("one pass", "steps and chunks give something else than one pass"),
        ("size", "state_size is 7, but the state holds 8 real numbers"),
        ("unused", r"no gradient reaches \['unused'\]"),
    ],
)
def test_a_mistake_in_a_mixer_is_found(mistake, sentence, monkeypatch):
    monkeypatch.setattr(Careless, "mistake", mistake)
    with contextlib.nullcontext() if sentence is None else pytest.raises(AssertionError, match=sentence):
        testing.check_mixer(Careless)


def toy_model(model, task, *overrides, **choices):
    """A toy-size model and its data: (Split, tokens, lengths)."""
    sizes = ("--config.model.d_model=8", "--config.task.examples=8", "--config.task.max_length=32")
    chosen = Choices(preset="quick", data="synthetic", overrides=(*sizes, *overrides), **choices)
    config, dataset = opened(chosen.config(Cell(model=model, task=task, seed=0)))
    model = build(config, dataset.spec, vocab_size=dataset.vocab_size, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    tokens, lengths = dataset.padded()
    rows = dataset.documents[dataset.splits["train"][:4]]
    return split(model), jnp.asarray(tokens[rows]), jnp.asarray(lengths[rows]).clip(max=24)


@partial(jax.jit, static_argnums=0, static_argnames="train")
def outputs(graph, params, stats, tokens, lengths, *, train=False):
    """Logits, and batch statistics after the call."""
    model = nnx.merge(graph, params, stats)
    return model(tokens, lengths, train=train), nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))


def close(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=TOLERANCE, atol=TOLERANCE)


TOYS = [
    pytest.param((model, "text"), marks=[] if model in DISTINCT else [pytest.mark.thorough])
    for model in experiment_names()
]


@pytest.fixture(scope="module", params=[*TOYS, ("s5", "retrieval")])
def toy(request):
    """A toy-size model of every experiment on one task, and one with two documents an example."""
    model, task = request.param
    # One block, unless blocks differ.
    layers = getattr(experiment(model), "TINY_LAYERS", 1)
    return toy_model(model, task, f"--config.model.layers={layers}")


@partial(jax.jit, static_argnums=0)
def gradients(graph, params, stats, tokens, lengths):
    """Of a sum that no logit leaves out; and batch statistics, in training."""

    def loss(params):
        logits, after = outputs(graph, params, stats, tokens, lengths, train=True)
        return jnp.sum(jnp.sin(logits) * jnp.arange(1.0, logits.size + 1).reshape(logits.shape)), after

    return jax.grad(loss, has_aux=True)(params)


def with_junk(tokens, lengths):
    """Other tokens in the padding."""
    return jnp.where(jnp.arange(tokens.shape[-1]) < lengths[..., None], tokens, 3)


def test_padding_and_company_never_change_an_output_under_the_strict_protocol(toy):
    (graph, params, stats, *_), tokens, lengths = toy
    together, _ = outputs(graph, params, stats, tokens, lengths)
    close(outputs(graph, params, stats, with_junk(tokens, lengths), lengths)[0], together)
    for i in range(len(tokens)):
        alone, _ = outputs(graph, params, stats, *(jnp.repeat(a[i : i + 1], len(tokens), 0) for a in (tokens, lengths)))
        close(alone[0], together[i])


def test_gradients_are_finite_reach_every_parameter_and_see_no_padding(toy):
    (graph, params, stats, found_roles, _), tokens, lengths = toy
    gradient, after = gradients(graph, params, stats, tokens, lengths)
    for path, values in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(values).all(), path
        assert np.abs(values).max() > 0, f"no gradient reaches {jax.tree_util.keystr(path)}"
    assert set(jax.tree.leaves(found_roles)) <= set(ROLES)
    other, other_after = gradients(graph, params, stats, with_junk(tokens, lengths), lengths)
    jax.tree.map(close, other_after, after)
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * max(1.0, np.abs(ours).max()))


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_classifier_reads_a_stream_as_it_reads_the_whole(pooling, positions):
    causal = "--config.mixer.bidirectional=false"
    settings = (f"--config.model.pooling={pooling}", f"--config.model.positions={positions}", causal)
    (graph, params, stats, *_), tokens, _ = toy_model("s5", "text", *settings)
    model = nnx.merge(graph, params, stats)

    @jax.jit
    def read(state, chunk):
        return model.extend(chunk, state)

    state, tokens = model.initial_state(len(tokens)), tokens[:, 0, :24]
    sizes = jax.tree.map(shape_and_type, state)
    for begin in range(0, 24, 8):
        logits, state = read(state, tokens[:, begin : begin + 8])
        close(logits, jax.jit(model)(tokens[:, None, : begin + 8]))
    assert jax.tree.map(shape_and_type, state) == sizes


def test_the_paper_protocol_lets_padding_in_for_models_with_batch_norm():
    (graph, params, stats, *_), tokens, lengths = toy_model("s5", "text", protocol="paper")
    lengths = lengths.clip(max=20)
    padded, _ = outputs(graph, params, stats, tokens, lengths)
    short, _ = outputs(graph, params, stats, tokens[..., :20], lengths)
    assert np.abs(padded - short).max() > TOLERANCE


def test_the_paper_protocol_of_s4d_lets_padding_into_batch_statistics_only():
    (graph, params, stats, *_), tokens, lengths = toy_model("s4d", "text", protocol="paper")
    lengths = lengths.clip(max=20)
    long, short = tokens, tokens[..., :20]
    close(outputs(graph, params, stats, long, lengths)[0], outputs(graph, params, stats, short, lengths)[0])
    (_, with_padding), (_, without) = (outputs(graph, params, stats, t, lengths, train=True) for t in (long, short))
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), with_padding, without)
    assert max(jax.tree.leaves(differences)) > TOLERANCE


@pytest.mark.parametrize("task", [task.spec.name for task in tasks(suite=LRA)])
def test_synthetic_data_of_every_task_fit_the_backbone(task):
    (graph, params, stats, *_), tokens, lengths = toy_model("lru", task)
    logits, _ = outputs(graph, params, stats, tokens, lengths)
    assert logits.shape == (4, spec(task).classes)


def test_a_mixer_that_lacks_something_is_told_what(monkeypatch):
    found = types.ModuleType("ssm_bench.mixers.foo")

    class Foo(Mixer):
        def __call__(self, x, mask=None, *, key=None):
            return x

    Foo.__module__, found.Foo = found.__name__, Foo
    monkeypatch.setattr(registry, "module", lambda package, name: found)
    with pytest.raises(TypeError, match="exactly one Mixer, it defines 0; Foo lacks state_size"):
        registry.subclass("mixers", "foo", Mixer)
