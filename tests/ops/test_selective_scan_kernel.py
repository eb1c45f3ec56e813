"""The kernel of the selective scan, interpreted on the CPU, against the reference."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops.selective_scan import selective_scan
from ssm_bench.ops.selective_scan_kernel import fused_scan

# Both are float32 and sum the same products in another order.
TOLERANCE = 2e-6


@pytest.mark.parametrize(("length", "channels", "states"), [(1, 1, 1), (37, 24, 16), (16, 3, 64)])
def test_values_and_gradients_equal_the_reference(length, channels, states):
    keys = iter(jax.random.split(jax.random.key(length), 8))
    normal = lambda *shape: jax.random.normal(next(keys), shape)  # noqa: E731
    arguments = (
        normal(2, length, channels),
        jax.nn.softplus(normal(2, length, channels)),
        -jnp.exp(normal(channels, states)),
        normal(2, length, states),
        normal(2, length, states),
        normal(2, channels, states),
    )
    weight, weight_of_state = normal(2, length, channels), normal(2, channels, states)

    def reference(u, delta, A, B, C, h0):
        return selective_scan(u, delta, A, B, C, h0=h0, return_last_state=True, backend="sequential")

    def value_and_gradients(scan):
        def loss(*arguments):
            y, last = scan(*arguments)
            return jnp.sum(y * weight) + jnp.sum(last * weight_of_state), (y, last)

        return jax.jit(jax.value_and_grad(loss, argnums=range(6), has_aux=True))(*arguments)

    (_, values), gradients = value_and_gradients(partial(fused_scan, interpret=True))
    (_, expected), expected_gradients = value_and_gradients(reference)
    for actual, desired in zip((*values, *gradients), (*expected, *expected_gradients), strict=True):
        np.testing.assert_allclose(actual, desired, rtol=TOLERANCE, atol=TOLERANCE * np.abs(desired).max())


def test_the_kernel_lowers_for_a_gpu():
    shapes = [(2, 32, 64), (2, 32, 64), (64, 16), (2, 32, 16), (2, 32, 16), (2, 64, 16)]
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

    def loss(*arguments):
        y, last = fused_scan(*arguments)
        return y.sum() + last.sum()

    lowered = jax.jit(jax.grad(loss, argnums=range(6))).trace(*arguments).lower(lowering_platforms=("cuda",))
    assert lowered.as_text().count("__gpu$xla.gpu.triton") == 2
