"""The MIMO diagonal model against a complex float64 loop."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops import diagonal_ssm, diagonal_ssm_step

from . import oracles

# Float64 sums of 20 products; one rounding of bfloat16 (2^-8) at the input, the states and the output.
FLOAT64 = 1e-11
BFLOAT16 = 1e-2


def random_system(h=3, p=5, outputs=2):
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape) + 1j * rng.normal(size=shape)  # noqa: E731
    log_a = -rng.uniform(0.01, 0.5, p) + 1j * rng.uniform(-3, 3, p)
    return rng.normal(size=(2, 20, h)), log_a, normal(p, h), normal(outputs, h, p)


def plain(u, log_a, B, C):
    forward, backward = (oracles.recurrence(np.exp(log_a), u @ B.T, reverse=reverse) for reverse in (False, True))
    return (forward @ C[0].T).real, (forward @ C[0].T + backward @ C[1].T).real


@pytest.mark.parametrize("backend", ["associative", "sequential"])
def test_values(x64, backend):
    u, log_a, B, C = (jnp.asarray(x) for x in random_system())
    causal, bidirectional = plain(*random_system())
    for outputs, expected in ((C[0], causal), (C, bidirectional)):
        y = jax.jit(partial(diagonal_ssm, backend=backend))(u, log_a, B, outputs)
        np.testing.assert_allclose(y, expected, rtol=FLOAT64, atol=FLOAT64)


def test_steps(x64):
    u, log_a, B, C = (jnp.asarray(x) for x in random_system())
    state, outputs = jnp.zeros((2, 5), complex), []
    for t in range(u.shape[1]):
        y, state = diagonal_ssm_step(u[:, t], state, log_a, B, C[0])
        outputs.append(y)
    np.testing.assert_allclose(jnp.stack(outputs, 1), plain(*random_system())[0], rtol=FLOAT64, atol=FLOAT64)


def test_low_precision_activations():
    u, log_a, B, C = random_system()
    single = [jnp.asarray(x, jnp.complex64) for x in (log_a, B, C)]
    y = diagonal_ssm(jnp.asarray(u, jnp.bfloat16), *single)
    assert y.dtype == jnp.bfloat16
    assert oracles.relative_error(y.astype(jnp.float32), plain(u, log_a, B, C)[1]) < BFLOAT16
