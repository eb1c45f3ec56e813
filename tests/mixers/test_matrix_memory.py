"""Layers with a matrix memory, and HGRN: their equations as loops over positions in float64."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench import ops, registry
from ssm_bench.errors import UserError
from ssm_bench.network.mixer import Mixer

# Sums of a few dozen float64 products.
FLOAT64 = 1e-10
# One rounding, 6e-8, for each of some tens of terms.
FLOAT32 = 1e-5
WIDTH, HEADS, LENGTH = 8, 2, 20


def value(variable):
    return np.asarray(variable[...], np.float64)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def silu(z):
    return z * sigmoid(z)


def unit(z):
    return z / np.sqrt((z**2).sum(-1, keepdims=True) + 1e-6)


def linear(layer, x):
    return x @ value(layer.kernel) + (0 if layer.bias is None else value(layer.bias))


def heads(x):
    return x.reshape(*x.shape[:-1], HEADS, -1)


def layer_norm(y, epsilon):
    y = y - y.mean(-1, keepdims=True)
    return y / np.sqrt((y**2).mean(-1, keepdims=True) + epsilon)


def rms_norm(norm, y):
    return y / np.sqrt((y**2).mean(-1, keepdims=True) + norm.epsilon) * value(norm.scale)


def projected(cell, x):
    """Queries, keys and values (l, heads, .) of x (l, h)."""
    u = np.concatenate([linear(cell.query, x), linear(cell.keys, x), linear(cell.values, x)], -1)
    if cell.conv is not None:
        taps = value(cell.conv.kernel)
        read = np.concatenate([np.zeros((len(taps) - 1, u.shape[1])), u])
        u = silu(sum(taps[k] * read[k : k + len(u)] for k in range(len(taps))))
    return [heads(t) for t in np.split(u, [cell.sizes.keys, 2 * cell.sizes.keys], -1)]


def read_out(step, q, k, v):
    """o_t = S_t^T q_t for S_t = step(S_{t-1}, t)."""
    S, o = np.zeros((HEADS, k.shape[-1], v.shape[-1])), np.zeros(v.shape)
    for t in range(len(q)):
        S = step(S, t)
        o[t] = np.einsum("nm,nmd->nd", q[t], S)
    return o


def write(S, k, v):
    return S + k[:, :, None] * v[:, None]


def gla(cell, x):
    q, k, v = projected(cell, x)
    decay = heads(sigmoid(linear(cell.decay_out, linear(cell.decay_in, x))) ** (1 / 16))
    o = read_out(lambda S, t: write(decay[t][..., None] * S, k[t], v[t]), q / np.sqrt(k.shape[-1]), k, v)
    return rms_norm(cell.norm, o) * heads(silu(linear(cell.gate, x)))


def retention(cell, x):
    q, k, v = projected(cell, x)
    pairs = k.shape[-1] // 2
    angle = np.arange(len(x))[:, None, None] * 10000.0 ** (-np.arange(pairs) / pairs)
    # As complex numbers, the real part of q conj(k).
    q, k = ((t[..., :pairs] + 1j * t[..., pairs:]) * np.exp(1j * angle) for t in (q, k))
    o = np.zeros(v.shape)
    for t in range(len(x)):
        for s in range(t + 1):
            weight = (q[t] * k[s].conj()).real.sum(-1) * (1 - 2.0 ** -(5 + np.arange(HEADS))) ** (t - s)
            o[t] += weight[:, None] * v[s] / np.sqrt(2 * pairs)
    return rms_norm(cell.norm, o) * heads(silu(linear(cell.gate, x)))


def gated_deltanet(cell, x, gated=True):
    q, k, v = projected(cell, x)
    q, k, beta = unit(q) / np.sqrt(k.shape[-1]), unit(k), cell.largest * sigmoid(linear(cell.beta, x))
    decay = np.ones(beta.shape)
    if gated:
        step = np.log1p(np.exp(x @ value(cell.dt_kernel) + value(cell.dt_bias)))
        decay = np.exp(-np.exp(value(cell.log_decay)) * step)

    def replaced(S, t):
        S = decay[t][:, None, None] * S
        held = np.einsum("nm,nmd->nd", k[t], S)
        return write(S, k[t], beta[t][:, None] * (v[t] - held))

    o = rms_norm(cell.norm, read_out(replaced, q, k, v))
    return o * heads(silu(linear(cell.gate, x))) if gated else o


def deltanet(cell, x):
    return gated_deltanet(cell, x, gated=False)


def mlstm(cell, x):
    q, k, v = projected(cell, x)
    i, f = (15 * np.tanh(linear(gate, x) / 15) for gate in (cell.input_gate, cell.forget_gate))
    # With the normalizer as one more column.
    ones = np.concatenate([v, np.ones_like(v[..., :1])], -1)
    k = np.exp(i)[..., None] * k / np.sqrt(k.shape[-1])
    sums = read_out(lambda S, t: write(sigmoid(f[t])[:, None, None] * S, k[t], ones[t]), q, k, ones)
    o = sums[..., :-1] / np.maximum(np.abs(sums[..., -1:]), 1)
    o = layer_norm(o, 1e-6) * value(cell.norm.scale) + value(cell.norm.bias)
    return o * heads(sigmoid(linear(cell.gate, x)))


def hgrn2(cell, x):
    q, z, v = projected(cell, x)
    bound = heads(sigmoid(value(cell.lower_bound.logit)))
    forget = bound + (1 - bound) * sigmoid(z)
    o = read_out(
        lambda S, t: write(forget[t][..., None] * S, 1 - forget[t], v[t]), silu(q) / np.sqrt(q.shape[-1]), q, v
    )
    return rms_norm(cell.norm, o.reshape(x.shape))


def rwkv7(cell, x):
    before = np.concatenate([np.zeros((1, WIDTH)), x[:-1]])
    r, w, k, v, a, g = (x + (before - x) * share for share in value(cell.mix))
    low = lambda layer, z: linear(layer.expand, z) + value(layer.bias)  # noqa: E731
    decay = heads(np.exp(-np.exp(-0.5) * sigmoid(low(cell.decay, np.tanh(linear(cell.decay.reduce, w))))))
    rate = heads(sigmoid(low(cell.rate, linear(cell.rate.reduce, a))))
    gate = linear(cell.gate_out, sigmoid(linear(cell.gate_in, g)))
    r, k, v = heads(linear(cell.query, r)), heads(linear(cell.keys, k)), heads(linear(cell.values, v))
    removed = unit(k * heads(value(cell.removed)))
    k = k * (1 + (rate - 1) * heads(value(cell.replaced)))

    def replaced(S, t):
        held = np.einsum("nm,nmd->nd", removed[t], S)
        return write(write(decay[t][..., None] * S, -rate[t] * removed[t], held), k[t], v[t])

    o = layer_norm(read_out(replaced, r, k, v), 1e-5 * k.shape[-1])
    o = o * heads(value(cell.norm_scale)) + heads(value(cell.norm_bias))
    return (o + (r * k * heads(value(cell.bonus))).sum(-1, keepdims=True) * v) * heads(gate)


def hgrn(cell, x):
    z = silu(linear(cell.inputs, x))
    bound = sigmoid(value(cell.lower_bound.logit))
    forget = bound + (1 - bound) * sigmoid(linear(cell.forget, x))
    c, turn = z[:, :WIDTH] + 1j * z[:, WIDTH:], np.exp(1j * value(cell.theta))
    h, state = np.zeros(c.shape, complex), 0
    for t in range(len(x)):
        state = h[t] = forget[t] * turn * state + (1 - forget[t]) * c[t]
    gated = np.concatenate([h.real, h.imag], -1) * sigmoid(linear(cell.gate, x))
    return layer_norm(gated, 1e-5) * value(cell.norm.scale) + value(cell.norm.bias)


LOOPS = {loop.__name__: loop for loop in (gla, retention, deltanet, gated_deltanet, mlstm, rwkv7, hgrn, hgrn2)}


def make(name, **options):
    """A mixer whose parameters, also those that start at 0 or 1, are random."""
    kind = registry.subclass("mixers", name, Mixer)
    options |= {"heads": HEADS} if name != "hgrn" else {}
    options |= {"depth": 0.5} if name in ("rwkv7", "hgrn", "hgrn2") else {}
    mixer = kind(WIDTH, **options, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    moved = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.2 * rng.normal(size=leaf.shape), nnx.state(mixer))
    nnx.update(mixer, jax.tree.map(jnp.asarray, moved))
    return mixer


@pytest.mark.parametrize("name", LOOPS)
def test_the_layer_is_the_loop(name, x64):
    mixer = make(name)
    x = np.random.default_rng(1).normal(size=(LENGTH, WIDTH))
    expected = linear(mixer.forward.out, LOOPS[name](mixer.forward, x).reshape(LENGTH, -1))
    np.testing.assert_allclose(jax.jit(mixer)(x[None])[0], expected, rtol=FLOAT64, atol=FLOAT64)


def test_the_recurrence_of_hgrn_is_the_published_one():
    golden = np.load(Path(__file__).parents[1] / "golden" / "fla_hgrn.npz")

    def loss(x, log_decay):
        h = ops.linear_recurrence(jnp.exp(log_decay), x)
        return jnp.sum(h * golden["cotangent"]), h

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (grad_x, grad_decay), h = gradient(golden["x"], golden["log_decay"])
    found = {"y": h, "last_state": h[:, -1], "grad_x": grad_x, "grad_log_decay": grad_decay}
    for name, array in found.items():
        error = np.linalg.norm(array - golden[name]) / np.linalg.norm(golden[name])
        assert error < FLOAT32, (name, error)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gla", {"heads": 3}, "heads must divide the widths 4 of keys and 8 of values; got 3"),
        ("gla", {"expand_k": 0.0}, "expand_k times the width 8 must be a width"),
        ("gla", {"rank": 0}, "rank must be at least 1; got 0"),
        ("gla", {"temperature": 0.0}, "temperature must be above 0; got 0.0"),
        ("retention", {"heads": 8}, "heads must have an even number of keys each; got 8 for 8 keys"),
        ("deltanet", {"taps": 0}, "taps of a short convolution must lie in 1..256; got 0"),
        ("gated_deltanet", {"heads": 2, "dt_min": 0.0}, "0 < dt_min"),
        ("mlstm", {"soft_cap": 0.0}, "soft_cap must be above 0; got 0.0"),
        ("rwkv7", {"heads": 0}, "heads must divide the width 8; got 0"),
        ("rwkv7", {"rank": -1}, "rank must be at least 1, or 0 for a rank by the width; got -1"),
        ("hgrn2", {"heads": 3}, "heads must divide the widths 8"),
    ],
)
def test_impossible_options(name, options, message):
    with pytest.raises(UserError, match=message):
        registry.subclass("mixers", name, Mixer)(WIDTH, **options, rngs=nnx.Rngs(0))
