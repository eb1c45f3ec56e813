"""Normalization along time: a loop in float64, in chunks, and far from zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench import ops

BATCH, LENGTH, WIDTH, GROUPS = 2, 9, 6, 2
# float32 sums of up to 27 terms.
FLOAT32 = 1e-5


def loop(x):
    y = np.zeros(x.shape)
    for row, t, group in np.ndindex(BATCH, LENGTH, GROUPS):
        own = slice(group * WIDTH // GROUPS, (group + 1) * WIDTH // GROUPS)
        so_far = x[row, : t + 1, own].astype(float)
        y[row, t, own] = (x[row, t, own] - so_far.mean()) / np.sqrt(so_far.var() + 1e-5)
    return y


# A difference of squares would have lost all digits at a thousand times the deviation.
@pytest.mark.parametrize(("offset", "tolerance"), [(0.0, FLOAT32), (1000.0, 1e-2)])
def test_it_is_the_loop_at_once_and_in_chunks(offset, tolerance):
    x = (offset + np.random.default_rng(0).normal(size=(BATCH, LENGTH, WIDTH))).astype(np.float32)
    norm = jax.jit(ops.timestep_norm)
    zeros = jnp.zeros((BATCH, GROUPS))
    state, parts = ops.Moments(jnp.zeros(BATCH), zeros, zeros), []
    whole, after = norm(x, state)
    np.testing.assert_allclose(whole, loop(x), rtol=tolerance, atol=tolerance)
    for begin, end in ((0, 4), (4, 5), (5, LENGTH)):
        part, state = norm(x[:, begin:end], state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=tolerance, atol=tolerance)
    for ours, expected in zip(state, after, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=tolerance)
