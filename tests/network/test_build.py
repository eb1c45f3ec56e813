"""From a configuration to a classifier: mistakes are told by the name of their setting."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.cli._failures import report
from ssm_bench.data import spec
from ssm_bench.errors import SettingError, UserError
from ssm_bench.mixers.s5 import S5
from ssm_bench.network.backbone import Classifier, Embedding
from ssm_bench.network.bounded_gate import LowerBound
from ssm_bench.network.build import build
from ssm_bench.sweep.recipe import resolve
from ssm_bench.training.provenance import PACKAGE

# Activations are float32; sums of other shapes round otherwise.
FLOAT32 = 2e-5


@pytest.mark.parametrize(
    ("mixer", "scaffold", "setting", "sentence"),
    [
        ("s4", "glu", "mixer.dt_min=0", "mixer: dt_min and dt_max .* both finite; got 0.0 and 0.1"),
        ("s6", "glu", "mixer.dt_max=1e-4", "mixer: dt_min and dt_max .* got 0.001 and 0.0001"),
        ("lru", "hawk", "mixer.r_max=2", "mixer: r_min and r_max .* got 0.0 and 2.0"),
        ("lru", "glu", "mixer.max_phase=-1", "mixer: max_phase .* got -1.0"),
        ("s5", "mamba", "mixer.discretization=foh", "mixer: unknown discretization 'foh'"),
        ("h3", "mamba", "mixer.shift_size=0", "mixer.shift_size .* got 0"),
        ("s5", "h3", "scaffold.shift_size=0", "scaffold.shift_size .* got 0"),
        ("s5", "mamba", "scaffold.taps=0", "scaffold.taps .* must lie in 1..256; got 0"),
        ("s5", "mamba", "scaffold.expand=1e30", "^scaffold.expand times the width 32 .* got 1e.30"),
        ("s5", "mlp", "scaffold.width=-1", "^scaffold.width must be at least 1, or 0 .* got -1"),
        ("attention", "griffin", "mixer.heads=3", "^mixer.heads must divide the width 40; got 3"),
    ],
)
def test_an_impossible_option_is_told_with_its_section(mixer, scaffold, setting, sentence):
    overrides = [f"--config.{s}" for s in (f"model.mixer={mixer}", f"model.scaffold={scaffold}", setting)]
    config = resolve("s5", "listops", preset="quick", overrides=overrides)
    with pytest.raises(UserError, match=sentence):
        build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("model", [pytest.param("transformer", marks=pytest.mark.thorough), "s4d"])
def test_a_window_makes_a_bag_of_pieces_of_any_model(model):
    """With a window the features are the mean of those of the pieces, one by one, and padding reaches nothing."""
    settings = "model.norm=layer", "model.layers=2", "model.positions=none", "task.max_length=24", "model.pooling=mean"

    def made(*more):
        config = resolve(model, "listops", preset="quick", overrides=[f"--config.{s}" for s in (*settings, *more)])
        return build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))

    whole, cut = made(), made("model.window=8")
    encode = jax.jit(whole.encode)
    tokens = jax.random.randint(jax.random.key(0), (2, 21), 1, 20)
    # Whole pieces of padding, a piece that is padded in part, and one that ends at position 21.
    lengths = np.array([5, 21])

    @nnx.jit
    def value_and_gradient(model):
        return nnx.value_and_grad(lambda model: model.encode(tokens, jnp.asarray(lengths)).sum())(model)

    features, gradient = jax.jit(cut.encode)(tokens, jnp.asarray(lengths)), value_and_gradient(cut)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    for row, length in enumerate(lengths):
        parts = [tokens[row : row + 1, i : min(i + 8, length)] for i in range(0, length, 8)]
        expected = sum(part.shape[1] * encode(part)[0] for part in parts) / length
        np.testing.assert_allclose(features[row], expected, rtol=FLOAT32, atol=FLOAT32)
    every = jax.jit(cut.encode)(tokens)
    np.testing.assert_allclose(every[1], features[1], rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ((), 24),
        (("model.pooling=cls",), 25),
        (("model.context=3",), 27),
        (("model.pooling=cls", "model.context=3"), 28),
        (("model.window=8",), 8),
        (("mixer.truncate=false",), 0),
    ],
)
def test_a_mixer_that_asks_for_it_is_told_the_longest_sequence(settings, length):
    settings = ("task.max_length=24", "model.layers=1", *settings)
    config = resolve("s4", "listops", preset="quick", overrides=[f"--config.{s}" for s in settings])
    model = build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    assert model.blocks[0].mixer.truncated == length


def test_a_classifier_says_which_inputs_it_takes():
    overrides = ["--config.mixer.bidirectional=false", "--config.model.layers=1"]
    config = resolve("lru", "listops", preset="quick", overrides=overrides)
    model = build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    for shape in ((2, 5), (2, 2, 5)):
        with pytest.raises(
            UserError, match=r"takes inputs \(batch, documents, length\) with documents 1; got the shape"
        ):
            model(jnp.zeros(shape, jnp.uint8))
    for shape in ((5,), (2, 0)):
        with pytest.raises(UserError, match=r"length at least 1; got the shape"):
            model.extend(jnp.zeros(shape, jnp.uint8), model.initial_state(2))


class Seen(nnx.Module):
    """A block that hands on what it sees, and keeps it."""

    def __call__(self, x, mask, *, train, key):
        self.x, self.mask = nnx.data(x), nnx.data(mask)
        return x


@pytest.mark.parametrize("pooling", ["mean", "last", "cls"])
@pytest.mark.parametrize("lengths", [None, (6, 4)])
def test_a_context_passes_the_blocks_in_front_of_the_sequence_and_nothing_else(pooling, lengths):
    lengths = None if lengths is None else jnp.array(lengths)

    def encoded(context):
        model = Classifier(
            encoder=Embedding(20, 8, rngs=nnx.Rngs(1)),
            block=lambda _, rngs: Seen(),
            layers=2,
            d_model=8,
            classes=3,
            max_length=6,
            positions="learned",
            pooling=pooling,
            context=context,
            rngs=nnx.Rngs(0),
        )
        return model, model.encode(jnp.arange(12).reshape(2, 6), lengths)

    (without, expected), (model, found) = encoded(0), encoded(3)
    np.testing.assert_array_equal(found, expected)
    for block, other in zip(model.blocks, without.blocks, strict=True):
        np.testing.assert_array_equal(block.x[:, 3:], other.x)
        for row in block.x[:, :3]:
            np.testing.assert_array_equal(row, model.context[...])
        if lengths is None:
            assert block.mask is None and other.mask is None
        else:
            np.testing.assert_array_equal(block.mask[:, 3:], other.mask)
            assert block.mask[:, :3].all()
    with pytest.raises(TypeError, match="without a context"):
        model.initial_state(2)


def test_a_context_is_only_there_if_asked_for():
    overrides = ["--config.model.mixer=luna"]
    config = resolve("transformer", "listops", preset="quick", overrides=overrides)
    with pytest.raises(UserError, match=r"^model.context must be at least 1 with the mixer luna; got 0"):
        build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    config = resolve("luna", "listops", preset="quick")
    model = build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    assert model.blocks[0].mixer.context == model.context.shape[0] == config.model.context > 0


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_inputs_longer_than_the_table_of_positions_are_refused(positions):
    settings = (f"model.positions={positions}", "task.max_length=8", "model.layers=1", "mixer.bidirectional=false")
    config = resolve("lru", "listops", preset="quick", overrides=[f"--config.{s}" for s in settings])
    model = build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0))
    tokens = jnp.zeros((2, 12), jnp.uint8)
    beyond = "has a table of 8 positions; the inputs reach position"
    with pytest.raises(UserError, match=f"{beyond} 9$"):
        model(tokens[:, None, :9])
    with pytest.raises(UserError, match=f"{beyond} 9"):
        jax.eval_shape(model.extend, tokens[:, :9], model.initial_state(2))
    extend = jax.jit(model.extend)
    _, state = extend(tokens[:, :4], model.initial_state(2))
    _, state = extend(tokens[:, 4:8], state)
    with pytest.raises(UserError, match=f"{beyond} 9$"):
        model.extend(tokens[:, 8:9], state)


def test_a_constructor_names_its_argument_and_the_command_line_its_setting(capsys):
    with pytest.raises(ValueError, match="^state_size must be a positive multiple of twice blocks") as told:
        S5(64, state_size=3, rngs=nnx.Rngs(0))
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)
    assert report(SettingError("mixer.state_size", "must be even; got 3")) == 2
    assert report(SettingError("mixer", ": n and m must be in order")) == 2
    assert report(SettingError("model.norm", "'x'; allowed: y", "unknown ")) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --config.mixer.state_size must be even; got 3",
        "error: --config.mixer: n and m must be in order",
        "error: unknown --config.model.norm 'x'; allowed: y",
    ]


@pytest.mark.parametrize("package", ["ops", "network", "mixers", "scaffolds"])
def test_the_library_knows_no_flags(package):
    said = [path.name for path in (PACKAGE / package).rglob("*.py") if "--config" in path.read_text()]
    assert said == []


def test_a_mixer_that_asks_for_its_depth_gets_it():
    config = resolve("hgrn2", "listops", preset="quick", overrides=["--config.model.layers=4"])
    model = nnx.eval_shape(lambda: build(config, spec("listops"), vocab_size=20, pixels=(0.0, 1.0), rngs=nnx.Rngs(0)))
    assert [block.mixer.forward.lower_bound.logit is None for block in model.blocks] == [True, False, False, False]
    bounds = [LowerBound(3, depth)(jnp.full(3, -jnp.inf))[0] for depth in (0.0, 0.25, 0.75)]
    np.testing.assert_allclose(jnp.stack(bounds)[:, 0], [0.0, 0.25, 0.75], rtol=1e-6)
