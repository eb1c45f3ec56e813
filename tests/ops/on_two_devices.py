"""Compares operations whose batch or time is divided among two devices with whole ones; `test_sharding` starts it."""

import importlib
import re
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from ssm_bench import ops
from ssm_bench.mixers.s5 import S5
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


AUTO = jax.sharding.AxisType.Auto
SEQUENCES = jax.make_mesh((2,), (sharding.SEQUENCE_AXIS,), axis_types=(AUTO,))
BOTH = jax.make_mesh((1, 2), (sharding.AXIS, sharding.SEQUENCE_AXIS), axis_types=(AUTO, AUTO))


def compare_in_time(operation, in_time, *arguments, mesh=SEQUENCES):
    """As `compare`, with time divided; no device gets the sequence of another one."""

    def loss(*arguments):
        y = operation(*arguments)
        return jnp.sum(jnp.sin(jnp.real(y)) + jnp.cos(jnp.imag(y))), y

    gradients = jax.value_and_grad(loss, argnums=range(len(arguments)), has_aux=True)

    def divided(*arguments):
        with sharding.divided(mesh):
            return gradients(*arguments)

    time, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((None, sharding.SEQUENCE_AXIS), ()))
    program = jax.jit(divided, in_shardings=tuple(time if one else whole for one in in_time))
    program = program.lower(*arguments).compile()
    text = program.as_text() or ""
    # Half of the time, and all of it; nothing else has axes of these sizes.
    gathered = re.findall(r"= \S*?\[([\d,]*)\]\S* (?:all-gather|all-to-all)", text)
    assert gathered and not any({"11", "22"} & set(shape.split(",")) for shape in gathered), gathered
    expected, actual = jax.jit(gradients)(*arguments), program(*arguments)
    for ours, theirs in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE * np.abs(theirs).max())


def compare_sequences():
    """The recurrence, and the models that are made of it."""
    random = np.random.default_rng(0)

    def normal(*shape):
        return random.standard_normal(shape, np.float32)

    log_a = (-random.uniform(0.01, 0.1, 4) + 1j * random.uniform(-3, 3, 4)).astype(np.complex64)
    u, a = normal(3, 22, 8), random.uniform(0.5, 1, (3, 22, 8)).astype(np.float32)
    for reverse in (False, True):
        varying = lambda a, b, h0, reverse=reverse: ops.linear_recurrence(a, b, h0=h0, reverse=reverse)  # noqa: E731
        compare_in_time(varying, (True, True, False), a, u, normal(3, 8), mesh=BOTH)
        constant = lambda a, b, h0, reverse=reverse: ops.linear_recurrence(a, b, h0=h0, reverse=reverse)  # noqa: E731
        compare_in_time(constant, (False, True, False), a[0, 0], u, normal(3, 8))
    shared = lambda a, b: ops.linear_recurrence(a, b, backend="associative")  # noqa: E731
    compare_in_time(shared, (True, True), a[:1, :, :1], u)
    B, C = (normal(*shape) + 1j * normal(*shape) for shape in ((4, 8), (2, 8, 4)))
    compare_in_time(ops.diagonal_ssm, (True, False, False, False), u, log_a, B, C)
    graph, parameters = nnx.split(S5(8, state_size=4, bidirectional=False, rngs=nnx.Rngs(0)))
    leaves, tree = jax.tree.flatten(parameters)
    mixer = lambda u, *leaves: nnx.merge(graph, tree.unflatten(leaves))(u)  # noqa: E731
    compare_in_time(mixer, (True, *[False] * len(leaves)), u, *leaves)
    with sharding.divided(SEQUENCES):
        try:
            jax.eval_shape(lambda b: ops.linear_recurrence(jnp.ones(8), b), u[:, :1])
        except ValueError as error:
            assert "a sequence of 1 steps cannot be divided evenly among 2 devices" in str(error)
        else:
            raise AssertionError("a part would be empty")


if __name__ == "__main__":
    assert jax.device_count() == 2
    {"batches": compare_all, "sequences": compare_sequences}[sys.argv[1]]()
