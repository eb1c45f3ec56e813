"""The RG-LRU: the authors' outputs, a float64 loop, and what happens at its edges."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.errors import UserError
from ssm_bench.ops import rg_lru

from . import oracles

GOLDEN = Path(__file__).parents[1] / "golden"
BACKENDS = ("associative", "sequential")
# The golden arrays are float32; so is our state: one rounding for each of at most 50 steps.
FLOAT32 = 1e-5
# Two orders of the same float64 sums.
FLOAT64 = 1e-12


def block_diagonal(x, gate):
    """One dense layer for each block of channels."""
    blocks = x.reshape(*x.shape[:-1], gate["w"].shape[0], -1)
    return (np.einsum("...hi,hij->...hj", blocks, gate["w"]) + gate["b"]).reshape(x.shape)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("heads", [1, 4])
def test_authors_outputs(heads, backend):
    golden = np.load(GOLDEN / f"rg_lru_heads{heads}.npz")
    gates = [
        block_diagonal(golden["x"], {part: golden[f"{name}/{part}"] for part in ("w", "b")})
        for name in ("input_gate", "a_gate")
    ]
    scan = jax.jit(partial(rg_lru, return_last_state=True, backend=backend))
    y, last = scan(golden["x"], *gates, golden["a_param"])
    assert oracles.relative_error(y, golden["y"]) < FLOAT32
    assert oracles.relative_error(last, golden["last_state"]) < FLOAT32


def random_problem(seed, batch=2, length=9, width=3):
    rng = np.random.default_rng(seed)
    x, gate_x, gate_a = rng.normal(size=(3, batch, length, width)) * np.array([1, 2, 4]).reshape(3, 1, 1, 1)
    return x, gate_x, gate_a, rng.uniform(-8, 1, width), rng.normal(size=(batch, width))


def plain_loop(x, gate_x, gate_a, a_param, h0=None, c=8.0):
    sigmoid = lambda t: 1 / (1 + np.exp(-t))  # noqa: E731
    states, h = [], h0
    for t in range(x.shape[1]):
        a = np.exp(-c * np.log1p(np.exp(a_param)) * sigmoid(gate_a[:, t]))
        gated = sigmoid(gate_x[:, t]) * x[:, t]
        h = gated if h is None else a * h + np.sqrt(1 - a**2) * gated
        states.append(h)
    return np.stack(states, 1)


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.sampled_from([(1, 1, 1), (2, 1, 3), (2, 17, 3), (3, 50, 1)]),
    c=st.sampled_from([8.0, 1.0]),
    started=st.booleans(),
    backend=st.sampled_from(BACKENDS),
)
def test_any_shape_is_the_loop(seed, sizes, c, started, backend):
    *arguments, h0 = [array.astype(np.float32) for array in random_problem(seed, *sizes)]
    h0 = h0 if started else None
    scan = jax.jit(partial(rg_lru, c=c, return_last_state=True, backend=backend))
    y, last = scan(*arguments, h0=h0)
    expected = plain_loop(*(array.astype(np.float64) for array in arguments), h0, c)
    assert y.shape == expected.shape
    assert oracles.relative_error(y, expected) < FLOAT32
    np.testing.assert_array_equal(last, y[:, -1])


def test_gradients_are_those_of_autodiff(x64):
    *arguments, h0 = (jnp.asarray(array) for array in random_problem(1, length=5))

    def plain(x, gate_x, gate_a, a_param, h0):
        a = jnp.exp(-8 * jax.nn.softplus(a_param) * jax.nn.sigmoid(gate_a))
        gated = jnp.sqrt(1 - a**2) * jax.nn.sigmoid(gate_x) * x
        states = []
        for t in range(x.shape[1]):
            h0 = a[:, t] * h0 + gated[:, t]
            states.append(h0)
        return jnp.stack(states, 1)

    def gradients(function):
        return jax.jit(jax.grad(lambda *x: jnp.sum(jnp.sin(function(*x))), argnums=range(5)))(*arguments, h0)

    expected = gradients(plain)
    for backend in BACKENDS:
        found = gradients(lambda *x, backend=backend: rg_lru(*x[:4], h0=x[4], backend=backend))
        # 1 - a^2 as plain autodiff forms it keeps twelve digits here.
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9), found, expected)


def test_pieces_and_steps_are_the_whole(x64):
    *sequences, a_param, _ = random_problem(2)
    scan = jax.jit(partial(rg_lru, return_last_state=True))
    whole, _ = scan(*sequences, a_param)
    state, parts = None, []
    for start, stop in ((0, 1), (1, 7), (7, 8), (8, 9)):
        part, state = scan(*(array[:, start:stop] for array in sequences), a_param, h0=state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=FLOAT64, atol=FLOAT64)


def test_slow_decay_keeps_its_digits_and_its_gradient_finite():
    """At 1 - a of 1e-6 the difference 1 - a^2 has lost most digits of float32; at a = 1 its root has no derivative."""
    x, gate = jnp.ones((1, 2, 2)), jnp.zeros((1, 2, 2))
    a_param = jnp.log(jnp.expm1(jnp.array([1e-6, 1e-8]) / 4))
    exact = np.sqrt(-np.expm1(-2 * np.log1p(np.exp(np.asarray(a_param, np.float64))) * 4))
    gain = 2 * jax.jit(rg_lru)(x, gate, gate, a_param, h0=jnp.zeros((1, 2)))[0, 0]
    np.testing.assert_allclose(gain, exact, rtol=FLOAT32)
    loss = jax.jit(jax.grad(lambda gate, a_param: jnp.sum(rg_lru(x, gate, gate, a_param)), argnums=(0, 1)))
    closed = loss(jnp.full((1, 2, 2), -200.0), jnp.full(2, -200.0))
    assert all(np.isfinite(gradient).all() for gradient in closed)


def test_under_vmap_and_in_low_precision():
    *sequences, a_param, _ = (jnp.asarray(array, jnp.bfloat16) for array in random_problem(3))
    a_param = a_param.astype(jnp.float32)
    scan = partial(rg_lru, return_last_state=True)
    y, last = jax.jit(scan)(*sequences, a_param)
    assert y.dtype == jnp.bfloat16 and last.dtype == jnp.float32
    mapped, _ = jax.jit(jax.vmap(scan, in_axes=(0, None, None, None)))(
        jnp.stack([sequences[0], 0 * sequences[0]]), *sequences[1:], a_param
    )
    np.testing.assert_array_equal(mapped[0], y)
    assert not mapped[1].any()


@pytest.mark.parametrize(
    ("position", "array", "message"),
    [
        (0, np.ones((2, 3)), r"x must be real \(b, l, h\)"),
        (0, np.ones((2, 9, 3), int), "x must be real.*int"),
        (0, np.ones((2, 0, 3)), "l at least 1"),
        (1, np.ones((2, 8, 3)), r"gate_x must be real \(2, 9, 3\)"),
        (2, np.ones((2, 9, 3), complex), "gate_a must be real"),
        (3, np.ones((1, 3)), r"a_param must be real \(3,\)"),
        (4, np.ones(3), r"h0 must be real \(2, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(position, array, message):
    arguments = list(random_problem(4))
    arguments[position] = array
    with pytest.raises(ValueError, match=message):
        rg_lru(*arguments[:4], h0=arguments[4])


def test_unknown_backend():
    *arguments, _ = random_problem(4)
    with pytest.raises(UserError, match=r"'parallel'.*associative.*sequential"):
        rg_lru(*(jnp.asarray(array) for array in arguments), backend="parallel")


def test_fresh_sequences_have_no_state_before_them(x64):
    *arguments, h0 = (jnp.asarray(array) for array in random_problem(5, batch=3))
    fresh = jnp.array([True, False, True])
    scan = jax.jit(rg_lru)
    mixed = scan(*arguments, h0=h0, fresh=fresh)
    np.testing.assert_array_equal(mixed[fresh], scan(*arguments)[fresh])
    np.testing.assert_array_equal(mixed[~fresh], scan(*arguments, h0=h0)[~fresh])


@pytest.mark.parametrize("fresh", [np.ones(3, bool), np.ones(2)])
def test_fresh_is_one_flag_a_sequence(fresh):
    *arguments, h0 = random_problem(4)
    with pytest.raises(ValueError, match=r"fresh must be bool \(2,\)"):
        rg_lru(*arguments, h0=h0, fresh=fresh)
    with pytest.raises(ValueError, match="when h0 is given"):
        rg_lru(*arguments, fresh=np.ones(2, bool))
