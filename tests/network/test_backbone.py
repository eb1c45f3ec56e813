"""What surrounds the blocks: numbers and positions that go in, and which positions come out."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.network.backbone import Classifier, Embedding, Numbers, sinusoidal_positions

WIDTH, LENGTH = 4, 6
LENGTHS = (6, 3, 1)
FLOAT32 = 1e-6


class Sums(nnx.Module):
    """A block in whose output every position is the sum of all that it was told are true."""

    def __call__(self, x, mask=None, *, train=False, key=None):
        mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
        return jnp.broadcast_to(jnp.where(mask[..., None], x, 0).sum(1, keepdims=True), x.shape)


class Same(nnx.Module):
    """A block that does nothing."""

    def __call__(self, x, mask=None, *, train=False, key=None):
        return x


def encoded(block, **options):
    """Features of sequences of three lengths, the embedding of their tokens, and the model."""
    rngs = nnx.Rngs(0)
    embedding = Embedding(20, WIDTH, rngs=rngs)
    model = Classifier(
        encoder=embedding,
        block=lambda i, rngs: block(),
        layers=1,
        d_model=WIDTH,
        classes=2,
        max_length=LENGTH,
        rngs=rngs,
        **options,
    )
    tokens = jnp.asarray(np.random.default_rng(0).integers(1, 20, (len(LENGTHS), LENGTH)))
    return model.encode(tokens, jnp.array(LENGTHS)), embedding(tokens), model


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", lambda x, length: x[:length].mean(0)),
        ("last", lambda x, length: x[length - 1]),
    ],
)
def test_pooling_looks_at_true_positions(pooling, expected):
    features, x, _ = encoded(Same, pooling=pooling)
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(features[row], expected(x[row], length), rtol=FLOAT32)


def test_a_class_token_sees_every_true_position_and_no_other():
    features, x, model = encoded(Sums, pooling="cls")
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(features[row], model.cls[...] + x[row, :length].sum(0), rtol=FLOAT32, atol=FLOAT32)


def test_a_context_is_seen_and_left_out_of_the_mean():
    features, x, model = encoded(Sums, pooling="mean", context=2)
    for row, length in enumerate(LENGTHS):
        expected = model.context[...].sum(0) + x[row, :length].sum(0)
        np.testing.assert_allclose(features[row], expected, rtol=FLOAT32, atol=FLOAT32)


def test_a_window_is_all_that_a_position_sees():
    features, x, _ = encoded(Sums, pooling="mean", window=4)
    for row, length in enumerate(LENGTHS):
        pieces = [x[row, start : min(start + 4, length)] for start in range(0, length, 4)]
        expected = sum(len(piece) * piece.sum(0) for piece in pieces) / length
        np.testing.assert_allclose(features[row], expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("options", [{"pooling": "last"}, {"pooling": "cls"}, {"context": 2}])
def test_a_window_needs_mean_pooling_and_no_context(options):
    with pytest.raises(UserError, match="window needs pooling 'mean' and context 0"):
        encoded(Sums, window=2, **options)


def test_sinusoidal_positions_are_those_of_the_paper():
    """PE(p, 2i) = sin(p / 10000^(2i/h)), PE(p, 2i + 1) the cosine: Vaswani et al. 2017, section 3.5."""
    table = sinusoidal_positions(50, 6)
    assert table.shape == (50, 6) and table.dtype == np.float32
    for position, channel in ((0, 0), (0, 1), (1, 0), (7, 2), (7, 3), (49, 4), (49, 5)):
        angle = position / 10_000 ** (channel // 2 * 2 / 6)
        assert table[position, channel] == pytest.approx(np.cos(angle) if channel % 2 else np.sin(angle), abs=FLOAT32)
    # An odd width leaves out the last cosine.
    np.testing.assert_array_equal(sinusoidal_positions(50, 5).shape, (50, 5))


def test_numbers_are_normalised_before_their_linear_map():
    numbers = Numbers(1, WIDTH, mean=100.0, std=50.0, rngs=nnx.Rngs(0))
    expected = numbers.linear(jnp.array([[[-2.0], [0.0], [3.1]]]))
    np.testing.assert_allclose(numbers(jnp.array([[0, 100, 255]])), expected, rtol=FLOAT32, atol=FLOAT32)


def test_a_uniform_start_gives_token_ids_different_directions():
    """With a zero bias, ids 3 and 134 would be one direction, which a norm cannot tell apart."""
    ids = jnp.array([[3, 134]])
    angle = {}
    for init in ("lecun_normal", "uniform"):
        x = Numbers(1, WIDTH, mean=0.0, std=1.0, init=init, rngs=nnx.Rngs(0))(ids)[0]
        first, second = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
        angle[init] = float(jnp.linalg.norm(first - second))
    assert angle["lecun_normal"] < 1e-6 < 1e-2 < angle["uniform"]
    encoder = Numbers(4, WIDTH, mean=0.0, std=1.0, init="uniform", rngs=nnx.Rngs(0)).linear
    for parameter in (encoder.kernel, encoder.bias):
        assert 0.25 < float(jnp.abs(parameter[...]).max()) <= 0.5


def test_an_unknown_start_of_the_encoder_is_refused():
    with pytest.raises(UserError, match="init .zeros.; allowed: lecun_normal, normal, uniform"):
        Numbers(1, WIDTH, mean=0.0, std=1.0, init="zeros", rngs=nnx.Rngs(0))
