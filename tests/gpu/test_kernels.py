"""What kernels compute on a GPU, against float64: `make test-gpu`."""

from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench import ops
from ssm_bench.ops import diagonal
from ssm_bench.ops.kernels import selective_scan as selective_scan_kernel
from ssm_bench.ops.kernels.gpu import kernels_run

pytestmark = pytest.mark.gpu

# Float32 over 1,000 steps. Where all decays are slow, the rounding of a decay (6e-8) adds up over a memory of 1,000
# steps and more.
FLOAT32, NEAR_THE_UNIT_CIRCLE = 2e-5, 5e-4
# Roundings of bfloat16 (2^-8) at inputs, states and outputs.
BFLOAT16 = 2e-2

LENGTH = 1000


@pytest.fixture(scope="module", autouse=True)
def _gpu():
    if not kernels_run():
        pytest.skip("no NVIDIA GPU, or a JAX without Triton")
    # Matrix products round to ten bits otherwise, in the reference as in the kernels' company.
    with jax.default_matmul_precision("highest"):
        yield


def normal(random, *shape):
    return random.normal(size=shape)


def complex_normal(random, *shape):
    return random.normal(size=shape) + 1j * random.normal(size=shape)


def selective_scan(random, rates, number=normal, d=8, n=16):
    A = -np.exp(random.uniform(*np.log(rates), (d, n))) + (3j * normal(random, d, n) if number is complex_normal else 0)
    return {
        "u": normal(random, 2, LENGTH, d),
        "delta": normal(random, 2, LENGTH, d) - 2,
        "A": A,
        "B": number(random, 2, LENGTH, n),
        "C": number(random, 2, LENGTH, n),
        "D": normal(random, d),
        "z": normal(random, 2, LENGTH, d),
        "delta_bias": normal(random, d),
    }


def diagonal_ssm(random, rates, p=24, h=12):
    return {
        "u": normal(random, 2, LENGTH, h),
        "log_a": -np.exp(random.uniform(*np.log(rates), p)) + 1j * random.uniform(-3, 3, p),
        "B": complex_normal(random, p, h),
        "C": complex_normal(random, 2, h, p),
    }


def varying(random, rates):
    return {
        "a": np.exp(-np.exp(random.uniform(*np.log(rates), (2, LENGTH, 24)))),
        "b": normal(random, 2, LENGTH, 24),
        "h0": normal(random, 2, 24),
    }


def constant(random, rates):
    return {
        "b": complex_normal(random, 2, LENGTH, 24),
        "log_a": -np.exp(random.uniform(*np.log(rates), 24)) + 1j * random.uniform(-3, 3, 24),
    }


def rg_lru(random, rates):
    inputs = {name: normal(random, 2, LENGTH, 24) for name in ("x", "gate_x", "gate_a")}
    # softplus of it, times 8, is the rate of an open gate.
    return inputs | {"a_param": np.log(np.expm1(np.exp(random.uniform(*np.log(rates), 24)) / 8))}


def through(route):
    """`diagonal_ssm` whose backend "fused" is the prototype of another route."""

    def function(u, log_a, B, C, *, backend):
        if backend != "fused":
            return ops.diagonal_ssm(u, log_a, B, C, backend=backend)
        kernels = pytest.importorskip(f"ssm_bench.ops.kernels.diagonal_scan_{route}")
        return diagonal.with_states(getattr(kernels, f"{route}_states"), u, log_a, B, C)

    return function


CASES = {
    "selective_scan": (partial(ops.selective_scan, delta_softplus=True), selective_scan),
    "selective_scan, complex": (
        partial(ops.selective_scan, delta_softplus=True),
        partial(selective_scan, number=complex_normal),
    ),
    # Wide enough for programs of several warps.
    "selective_scan, wide": (
        partial(ops.selective_scan, delta_softplus=True),
        partial(selective_scan, d=1024, n=64),
    ),
    "selective_scan of many states": (
        partial(ops.selective_scan, delta_softplus=True),
        partial(selective_scan, d=64, n=64),
    ),
    "diagonal_ssm": (ops.diagonal_ssm, diagonal_ssm),
    "diagonal_ssm in Triton": (through("triton"), diagonal_ssm),
    "diagonal_ssm through Mosaic GPU": (through("mosaic"), partial(diagonal_ssm, p=128)),
    "linear_recurrence, varying": (ops.linear_recurrence, varying),
    "linear_recurrence, constant, from the end": (partial(ops.linear_recurrence, None, reverse=True), constant),
    "rg_lru": (ops.rg_lru, rg_lru),
}


def values_and_gradients(function, arrays, backend, weights):
    """What a backend gives for named arrays, and the gradients of a weighted sum of it by each of them."""

    def loss(arrays):
        y = function(**arrays, backend=backend)
        return jnp.sum(jnp.real(weights * y).astype(jnp.promote_types(jnp.float32, weights.real.dtype))), y

    (_, y), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(arrays)
    return {"value": y} | gradients


@contextmanager
def reference():
    """Double precision on the CPU, where loops of a thousand steps compile and run fast."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


def in_double_precision(function, arrays, weights):
    with reference():
        found = values_and_gradients(function, jax.tree.map(jnp.asarray, arrays), "sequential", weights)
        return jax.tree.map(np.asarray, found)


def narrowed(x, dtype=np.float32):
    return jnp.asarray(x, jnp.complex64 if np.iscomplexobj(x) else dtype)


def largest_error(found, expected):
    """The largest difference over the largest number, of the value and of each gradient."""
    return {
        name: float(np.abs(np.asarray(found[name]).astype(each.dtype) - each).max() / np.abs(each).max())
        for name, each in expected.items()
    }


@pytest.mark.parametrize(
    ("rates", "tolerance"), [((0.01, 2.0), FLOAT32), ((1e-4, 1e-3), NEAR_THE_UNIT_CIRCLE)], ids=["fast", "slow"]
)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, rates, tolerance, monkeypatch):
    if name == "selective_scan of many states":
        # Several warps share a program, as in problems of more sequences.
        monkeypatch.setattr(selective_scan_kernel, "_FORWARD_ROOM", 1)
        monkeypatch.setattr(selective_scan_kernel, "_BACKWARD_ROOM", 1)
    function, make = CASES[name]
    random = np.random.default_rng(0)
    arrays = {key: np.asarray(x) for key, x in make(random, rates).items()}
    shape = jax.eval_shape(partial(function, backend="sequential"), **jax.tree.map(narrowed, arrays))
    weights = complex_normal(random, *shape.shape) if shape.dtype == jnp.complex64 else normal(random, *shape.shape)
    expected = in_double_precision(function, arrays, weights)
    found = values_and_gradients(function, jax.tree.map(narrowed, arrays), "fused", narrowed(weights))
    errors = largest_error(found, expected)
    assert max(errors.values()) < tolerance, errors


@pytest.mark.parametrize("name", ["diagonal_ssm", "selective_scan", "rg_lru"])
def test_activations_in_half_precision_keep_a_float32_state(name):
    function, make = CASES[name]
    random = np.random.default_rng(0)
    arrays = make(random, (1e-4, 1e-3))
    activations = ("u", "delta", "z", "x", "gate_x", "gate_a")
    # The reference gets the inputs as bfloat16 has them.
    rounded = {
        key: np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64) if key in activations else x
        for key, x in arrays.items()
    }
    weights = normal(random, *next(arrays[key].shape for key in ("u", "x") if key in arrays))
    expected = in_double_precision(function, rounded, weights)
    half = {key: narrowed(x, jnp.bfloat16 if key in activations else np.float32) for key, x in arrays.items()}
    found = values_and_gradients(function, half, "fused", narrowed(weights))
    assert found["value"].dtype == jnp.bfloat16
    errors = largest_error({"value": found["value"].astype(jnp.float32)}, {"value": expected["value"]})
    assert errors["value"] < BFLOAT16


def dplr(random, channels, modes):
    """Modes from slow to fast, a correction of rank one, steps from 0.001 to 0.1."""
    return [
        -np.exp(random.uniform(-3, 0, (channels, modes))) + 1j * np.exp(random.uniform(-1, 4, (channels, modes))),
        complex_normal(random, 1, channels, modes) / 4,
        complex_normal(random, channels, modes),
        complex_normal(random, 2, channels, modes),
        np.exp(random.uniform(np.log(1e-3), np.log(1e-1), channels)),
    ]


@pytest.mark.parametrize("modes", [32, 20])
def test_the_kernel_of_s4(modes):
    arrays, weights = dplr(np.random.default_rng(0), 6, modes), normal(np.random.default_rng(1), 2, 6, LENGTH)

    @jax.jit
    def run(arrays, weights):
        kernel, pull = jax.vjp(lambda *x: ops.dplr_kernel(*x, LENGTH, truncated=True), *arrays)
        return {"value": kernel} | dict(zip(("Lambda", "P", "B", "C", "dt"), pull(weights), strict=True))

    # In double precision by products.
    with reference():
        expected = jax.tree.map(np.asarray, run(arrays, weights))
    errors = largest_error(run([narrowed(x) for x in arrays], narrowed(weights)), expected)
    assert max(errors.values()) < NEAR_THE_UNIT_CIRCLE, errors


@pytest.mark.parametrize(
    "attend",
    [
        partial(ops.block_sparse_attention, block=64, random_blocks=3, seed=0),
        lambda q, k, v: ops.lsh_attention(q + k, v, chunk=64, buckets=8, rounds=2, seed=0),
    ],
    ids=["block_sparse_attention", "lsh_attention"],
)
def test_gradients_of_what_is_gathered_have_the_same_bits_each_time(attend):
    inputs = [narrowed(normal(np.random.default_rng(seed), 8, LENGTH, 4, 16)) for seed in range(3)]
    gradient = jax.jit(jax.grad(lambda *x: jnp.sum(jnp.sin(attend(*x))), argnums=(0, 1, 2)))
    first = jax.tree.map(np.asarray, gradient(*inputs))
    for again in (gradient(*inputs) for _ in range(3)):
        jax.tree.map(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize(("queries", "keys"), [(64, LENGTH), (LENGTH, 63)])
def test_attention_to_another_sequence_in_half_precision(queries, keys):
    random = np.random.default_rng(0)
    wide = [jnp.asarray(normal(random, 2, length, 4, 16), jnp.bfloat16) for length in (queries, keys, keys)]
    lengths = np.array([keys, keys // 3])

    def run(*arrays):
        value, pull = jax.vjp(partial(ops.attention, lengths=lengths), *arrays)
        return dict(zip(("value", "q", "k", "v"), (value, *pull(jnp.ones_like(value))), strict=True))

    found = jax.jit(run)(*wide)
    with reference():
        expected = run(*(jnp.asarray(np.asarray(x, np.float64)) for x in wide))
    errors = largest_error(found, jax.tree.map(np.asarray, expected))
    assert max(errors.values()) < BFLOAT16, errors
