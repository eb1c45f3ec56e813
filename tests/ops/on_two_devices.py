"""Compares operations whose batch is divided among two devices with whole ones; `test_sharding` starts it."""

import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from ssm_bench import ops
from ssm_bench.ops import backends, diagonal, sharding
from ssm_bench.ops.kernels import recurrence, selective_scan, walk

MESH = jax.make_mesh((2,), (sharding.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))

# Gradients of what all examples share are added up in another order.
TOLERANCE = 1e-5


def compare(operation, batched, *arguments):
    """Values and gradients on one device and on two; the latter without a word from one to the other but for sums."""

    def loss(*arguments):
        y = operation(*arguments)
        return jnp.sum(jnp.sin(jnp.real(y)) + jnp.cos(jnp.imag(y))), y

    def divided(*arguments):
        with sharding.divided(MESH):
            return jax.value_and_grad(loss, argnums=range(len(arguments)), has_aux=True)(*arguments)

    batch, whole = (NamedSharding(MESH, PartitionSpec(*axes)) for axes in ((sharding.AXIS,), ()))
    program = jax.jit(divided, in_shardings=tuple(batch if one else whole for one in batched))
    program = program.lower(*arguments).compile()
    text = program.as_text()
    assert "all-reduce" in text and "all-gather" not in text and "all-to-all" not in text
    expected = jax.jit(jax.value_and_grad(loss, argnums=range(len(arguments)), has_aux=True))(*arguments)
    actual = program(*arguments)
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * np.abs(theirs).max())


def compare_all():
    """Every operation that says what it does with parts of a batch."""
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape, np.float32)

    def spectrum(n):
        return (-random.uniform(0.01, 0.1, n) + 1j * random.uniform(-3, 3, n)).astype(np.complex64)

    # Small, since interpreted kernels take long to compile.
    u = normal(2, 4, 8)
    compare(ops.causal_conv, (True, False), u, normal(8, 4))
    compare(ops.causal_conv, (True, False), u, normal(3, 8, 4))
    compare(ops.bidirectional_conv, (True, False, False), u, normal(8, 4), normal(8, 4))

    compare(ops.fourier_mixing, (True,), u)
    ragged = lambda u, ends: ops.fourier_mixing(u, ends.astype(jnp.int32))  # noqa: E731
    compare(ragged, (True, True), u, np.array([4, 3], np.float32))

    # The kernels, interpreted; short chunks are less to interpret.
    walk.CHUNK = selective_scan._CHUNK = 2
    B, C = (normal(*shape) + 1j * normal(*shape) for shape in ((8, 8), (1, 8, 8)))
    compare(partial(diagonal._fused, interpret=True), (True, False, False, False), u, spectrum(8), B, C)
    backends.kernels_run = lambda: True
    recurrence.fused_recurrence = partial(recurrence.fused_recurrence, interpret=True)
    fused = partial(ops.linear_recurrence, backend="fused")
    compare(fused, (True, True), random.uniform(0.5, 1, (2, 4, 8)).astype(np.float32), u)
    constant = lambda log_a, b: fused(None, b, log_a=log_a)  # noqa: E731
    compare(constant, (False, True), spectrum(8), u + 1j * normal(2, 4, 8))
    # The module, which a function of the same name hides.
    rg_lru = importlib.import_module("ssm_bench.ops.rg_lru")
    gated = lambda *arguments: rg_lru._fused(*arguments, 8.0, None, None, interpret=True)[0]  # noqa: E731
    compare(gated, (True, True, True, False), u, normal(2, 4, 8), normal(2, 4, 8), normal(8))

    selective_scan.fused_scan = partial(selective_scan.fused_scan, interpret=True)

    def selective(u, delta, A, B, C, D, z, delta_bias):
        return ops.selective_scan(
            u, delta, -jnp.exp(A), B, C, D, z=z, delta_bias=delta_bias, delta_softplus=True, backend="fused"
        )

    batched = (True, True, False, True, True, False, True, False)
    arguments = (u, normal(2, 4, 8), normal(8, 4), normal(2, 4, 4), normal(2, 4, 4), normal(8), u, normal(8))
    compare(selective, batched, *arguments)


if __name__ == "__main__":
    assert jax.device_count() == 2
    compare_all()
