"""bfloat16 inputs: every operation of a mixer returns their type, keeps a float32 state, and loses no slow mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench import ops

from . import oracles

# Operands of matrix products, states that are read and outputs are rounded by up to 2^-9 of their size each; a state in
# bfloat16 would be off by its whole size here, since 1 - MODULUS is far below 2^-9.
BFLOAT16 = 2**-7
FLOAT32 = 1e-5
LENGTH, MODULUS = 1024, 0.9999
# Attention without a state: its rounding does not grow with the length.
STATELESS = 128


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def rounded(seed, like, *shape):
    """Random numbers that bfloat16 can hold, in the type of `like`."""
    return normal(seed, *shape).astype(jnp.bfloat16).astype(like.dtype)


def spectrum(*shape):
    """Logarithms of eigenvalues near the unit circle."""
    phases = np.random.default_rng(0).uniform(-np.pi, np.pi, shape)
    return jnp.asarray(np.log(MODULUS) + 1j * phases, jnp.complex64)


def as_complex(seed, *shape):
    return ops.as_complex(normal(seed, *shape, 2))


def diagonal_ssm(u):
    return ops.diagonal_ssm(u, spectrum(8), as_complex(1, 8, 3), as_complex(2, 2, 3, 8))


def diagonal_ssm_extend(u):
    return ops.diagonal_ssm_extend(u, as_complex(3, 2, 8), spectrum(8), as_complex(1, 8, 3), as_complex(2, 3, 8))


def diagonal_ssm_step(u):
    return ops.diagonal_ssm_step(u[:, 0], as_complex(3, 2, 8), spectrum(8), as_complex(1, 8, 3), as_complex(2, 3, 8))


def causal_conv(u):
    return ops.causal_conv(u, jnp.real(jnp.exp(spectrum(3, 1) * jnp.arange(LENGTH))))


def bidirectional_conv(u):
    kernel = jnp.real(jnp.exp(spectrum(3, 1) * jnp.arange(LENGTH)))
    return ops.bidirectional_conv(u, kernel, 2 * kernel)


def selective_scan(u):
    delta = jnp.abs(rounded(1, u, *u.shape))
    B, C = (rounded(seed, u, *u.shape[:2], 4) for seed in (2, 3))
    A = jnp.full((3, 4), np.log(MODULUS), jnp.float32)
    return ops.selective_scan(u, delta, A, B, C, normal(4, 3), z=u, h0=normal(5, 2, 3, 4), return_last_state=True)


def complex_selective_scan(u):
    delta = jnp.abs(rounded(1, u, *u.shape))
    B, C = (ops.as_complex(rounded(seed, u, *u.shape[:2], 4, 2)) for seed in (2, 3))
    return ops.selective_scan(u, delta, spectrum(3, 4), B, C, return_last_state=True)


def ssd(u):
    delta = jnp.abs(rounded(1, u, *u.shape))
    B, C = (rounded(seed, u, *u.shape[:2], 4) for seed in (2, 3))
    A = jnp.full(3, np.log(MODULUS), jnp.float32)
    return ops.ssd(u[..., None], delta, A, B, C, normal(4, 3), return_last_state=True)


def rg_lru(u):
    slow = jnp.full(3, np.log(np.expm1(-np.log(MODULUS) / 8)), jnp.float32)
    gate_x, gate_a = (rounded(seed, u, *u.shape) for seed in (1, 2))
    return ops.rg_lru(u, gate_x, gate_a, slow, h0=normal(3, 2, 3), return_last_state=True)


def heads(u, length=STATELESS):
    return [rounded(seed, u, 2, length, 2, 4) for seed in (1, 2, 3)]


def local_attention(u):
    q, k, v = heads(u)
    positions = jnp.arange(STATELESS)
    return ops.local_attention(ops.rotary(q, positions), ops.rotary(k, positions), v, window=50, causal=True)


def linear_attention(u):
    q, k, v = heads(u, LENGTH)
    return ops.linear_attention(ops.elu_features(q), ops.elu_features(k), v)


def causal_linear_attention(u):
    q, k, v = heads(u, LENGTH)
    projection = ops.orthogonal_gaussian(jax.random.key(4), 5, 4)
    q, k = ops.softmax_query_features(q, projection), ops.softmax_key_features(k, projection, causal=True)
    y, last = ops.causal_linear_attention(q, k, v)
    return y, *last


def block_sparse_attention(u):
    return ops.block_sparse_attention(*heads(u), block=8, random_blocks=2, seed=0)


def lsh_attention(u):
    q, _, v = heads(u)
    return ops.lsh_attention(q, v, chunk=8, buckets=8, rounds=2, seed=0)


def sparse_attention(u):
    return ops.sparse_attention(*heads(u), pattern="fixed", block=8, summary=2, first=1)


def sinkhorn_attention(u):
    blocks = STATELESS // 8
    return ops.sinkhorn_attention(*heads(u), normal(7, 2, 2, blocks, blocks), block=8, iterations=4)


def nystrom_attention(u):
    return ops.nystrom_attention(*heads(u), landmarks=16)


RETURNING = (
    diagonal_ssm,
    diagonal_ssm_extend,
    diagonal_ssm_step,
    causal_conv,
    bidirectional_conv,
    selective_scan,
    complex_selective_scan,
    ssd,
    rg_lru,
    local_attention,
    linear_attention,
    causal_linear_attention,
    block_sparse_attention,
    lsh_attention,
    sparse_attention,
    sinkhorn_attention,
    nystrom_attention,
    ops.fourier_mixing,
)


def both(operation):
    """What comes of the same inputs in float32 and in bfloat16."""
    u = rounded(0, jnp.zeros((), jnp.bfloat16), 2, LENGTH, 3)
    run = jax.jit(operation)
    return run(u.astype(jnp.float32)), run(u)


@pytest.mark.parametrize("operation", RETURNING)
def test_outputs_come_back_in_the_type_of_the_inputs_and_states_in_float32(operation):
    exact, half = both(operation)
    y, *state = half if isinstance(half, tuple) else (half,)
    assert y.dtype == jnp.bfloat16
    assert {s.dtype for s in state} <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.complex64)}
    for ours, theirs in zip(jax.tree.leaves(half), jax.tree.leaves(exact), strict=True):
        assert ours.shape == theirs.shape
        assert oracles.relative_error(np.asarray(ours.astype(theirs.dtype)), np.asarray(theirs)) < BFLOAT16


def linear_recurrence(u):
    return ops.linear_recurrence(None, u, log_a=spectrum(3))


def dense_recurrence(u):
    return ops.dense_recurrence(MODULUS * jnp.linalg.qr(normal(1, 3, 3))[0], u)


def gru(u):
    return ops.gru(jnp.tile(u, 3), normal(1, 3, 9), normal(2, 3), normal(3, 2, 3))


def lstm(u):
    return ops.lstm(jnp.tile(u, 4), normal(1, 3, 12), normal(2, 2, 3), normal(3, 2, 3))


@pytest.mark.parametrize("operation", [linear_recurrence, dense_recurrence, gru, lstm])
def test_what_returns_states_returns_them_in_float32(operation):
    exact, half = both(operation)
    for ours, theirs in zip(jax.tree.leaves(half), jax.tree.leaves(exact), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=FLOAT32, atol=FLOAT32)
