"""The kernel of the selective scan, interpreted on the CPU, against the reference."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops.selective_scan import selective_scan
from ssm_bench.ops.selective_scan_kernel import fused_scan

from .lowering import lowered_for_a_gpu

# Both are float32 and sum the same products in another order.
TOLERANCE = 2e-6


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
@pytest.mark.parametrize(("length", "channels", "states"), [(37, 24, 16), (16, 3, 64)])
def test_values_and_gradients_equal_the_reference(length, channels, states, dtype):
    keys = iter(jax.random.split(jax.random.key(length), 9))

    def normal(*shape, dtype=jnp.float32):
        return jax.random.normal(next(keys), shape, dtype)

    frequency = 1j * normal(channels, states) if dtype == jnp.complex64 else 0
    arguments = (
        normal(2, length, channels),
        jax.nn.softplus(normal(2, length, channels)),
        -jnp.exp(normal(channels, states)) + frequency,
        normal(2, length, states, dtype=dtype),
        normal(2, length, states, dtype=dtype),
        normal(2, channels, states, dtype=dtype),
    )
    weight, weight_of_state = normal(2, length, channels), normal(2, channels, states, dtype=dtype)

    def reference(u, delta, A, B, C, h0):
        return selective_scan(u, delta, A, B, C, h0=h0, return_last_state=True, backend="sequential")

    def value_and_gradients(scan):
        def loss(*arguments):
            y, last = scan(*arguments)
            return jnp.sum(y * weight) + jnp.sum(jnp.real(last * weight_of_state)), (y, last)

        return jax.jit(jax.value_and_grad(loss, argnums=range(6), has_aux=True))(*arguments)

    (_, values), gradients = value_and_gradients(partial(fused_scan, interpret=True))
    (_, expected), expected_gradients = value_and_gradients(reference)
    for actual, desired in zip((*values, *gradients), (*expected, *expected_gradients), strict=True):
        np.testing.assert_allclose(actual, desired, rtol=TOLERANCE, atol=TOLERANCE * np.abs(desired).max())


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_the_kernel_lowers_for_a_gpu(dtype):
    shapes = [(2, 32, 64), (2, 32, 64), (64, 16), (2, 32, 16), (2, 32, 16), (2, 64, 16)]
    dtypes = [jnp.float32] * 2 + [dtype] * 4
    arguments = [jax.ShapeDtypeStruct(*pair) for pair in zip(shapes, dtypes, strict=True)]

    def loss(*arguments):
        y, last = fused_scan(*arguments)
        return y.sum() + jnp.real(last.sum())

    text = lowered_for_a_gpu(jax.grad(loss, argnums=range(6)), *arguments)
    assert text.count("__gpu$xla.gpu.triton") == 2
