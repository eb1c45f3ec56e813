"""The kernel of the selective scan, interpreted on the CPU, against the reference and a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssm_bench.ops.kernels import selective_scan as selective_scan_kernel
from ssm_bench.ops.kernels.selective_scan import fused_scan
from ssm_bench.ops.selective_scan import selective_scan

from .. import oracles
from ..lowering import lowered_for_a_gpu
from ..test_selective_scan import narrowed, plain_loop, random_problem

# Both are float32 and sum the same products in another order.
TOLERANCE = 2e-6
# Float32 against float64: one rounding, 6e-8, for each of at most 37 steps.
FLOAT32 = 1e-5
# bfloat16 keeps 8 bits; the gradient of the gate takes two rounded factors.
BFLOAT16 = 2 * 2**-8

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "h0")


@pytest.fixture(scope="module", autouse=True)
def little_room():
    """As few programs as there are otherwise in large problems: then several warps share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selective_scan_kernel, "_FORWARD_ROOM", 1)
        patch.setattr(selective_scan_kernel, "_BACKWARD_ROOM", 1)
        yield


@pytest.fixture
def short_chunks(monkeypatch):
    """Less to interpret."""
    monkeypatch.setattr(selective_scan_kernel, "_CHUNK", 4)


def values_and_gradients(scan, problem, softplus):
    """y, the last state, and the gradients of a function of both."""
    rng = np.random.default_rng(9)
    weight = jnp.asarray(rng.normal(size=problem["u"].shape), jnp.float32)
    weight_of_state = jnp.asarray(rng.normal(size=problem["h0"].shape), jnp.float32)

    def loss(problem):
        y, last = scan(problem, softplus)
        by_state = (1 - 0.5j) * last if jnp.iscomplexobj(last) else last
        return jnp.sum(y * weight) + jnp.sum(jnp.real(by_state) * weight_of_state), {"y": y, "last": last}

    (_, values), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(problem)
    return values | gradients


def interpreted(problem, softplus):
    z = problem.get("z")
    arguments = [z if name == "z" else problem[name] for name in NAMES]
    return fused_scan(*arguments, softplus=softplus, interpret=True)


def reference(problem, softplus):
    return selective_scan(**problem, delta_softplus=softplus, return_last_state=True, backend="sequential")


@pytest.fixture
def group(request, monkeypatch):
    """States kept before every chunk, before some, and before the first alone."""
    monkeypatch.setattr(selective_scan_kernel, "_GROUP", request.param)


@pytest.mark.parametrize(
    ("group", "number", "length", "channels", "states", "gate", "softplus"),
    [
        (3, "real", 37, 24, 16, True, True),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                (1, "real", 37, 24, 16, True, True),
                (16, "real", 13, 16, 64, False, False),
                (3, "complex", 19, 12, 8, True, True),
            )
        ),
    ],
    indirect=["group"],
)
@pytest.mark.usefixtures("short_chunks")
def test_values_and_gradients_equal_the_reference(group, number, length, channels, states, gate, softplus):
    problem = narrowed(random_problem(length, 2, length, channels, states, number))
    if not gate:
        del problem["z"]
    if not softplus:
        problem["delta"] = jax.nn.softplus(problem["delta"])
        problem["delta_bias"] = jnp.abs(problem["delta_bias"])
    expected = values_and_gradients(reference, problem, softplus)
    for name, found in values_and_gradients(interpreted, problem, softplus).items():
        assert found.dtype == expected[name].dtype
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found, expected[name], rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.thorough
@pytest.mark.usefixtures("short_chunks")
def test_the_rows_of_a_batch_are_taken_a_few_at_a_time(monkeypatch):
    # Two of five: the last run takes one that is done, and leaves it as it is.
    monkeypatch.setattr(selective_scan_kernel, "_AT_ONCE", 4)
    problem = narrowed(random_problem(7, 5, 150, 16, 16))
    expected = values_and_gradients(reference, problem, True)
    for name, found in values_and_gradients(interpreted, problem, True).items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found, expected[name], rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=name)


@pytest.mark.parametrize("number", ["real", "complex"])
@pytest.mark.usefixtures("short_chunks")
def test_values_equal_a_plain_loop(number):
    problem = random_problem(3, 2, 37, 6, 4, number)
    for found, expected in zip(interpreted(narrowed(problem), True), plain_loop(**problem), strict=True):
        assert oracles.relative_error(found, expected) < FLOAT32


@pytest.mark.thorough
@pytest.mark.usefixtures("short_chunks")
def test_bfloat16_inputs_keep_a_float32_state():
    problem = narrowed(random_problem(4, 2, 21, 8, 16))
    wide = ("A", "D", "delta_bias", "h0")
    low = {name: x if name in wide else x.astype(jnp.bfloat16) for name, x in problem.items()}
    found = values_and_gradients(interpreted, low, True)
    expected = values_and_gradients(reference, {name: x.astype(jnp.float32) for name, x in low.items()}, True)
    for name, x in found.items():
        assert x.dtype == (jnp.float32 if name in (*wide, "last") else jnp.bfloat16)
        # All but the last state take a part in bfloat16, gradients the cotangent of y.
        tolerance = TOLERANCE if name == "last" else BFLOAT16
        error = oracles.relative_error(np.asarray(x, np.float64), np.asarray(expected[name], np.float64))
        assert error < tolerance, name


@pytest.mark.parametrize(
    ("group", "number"),
    [
        (1, jnp.float32),
        pytest.param(3, jnp.bfloat16, marks=pytest.mark.thorough),
        pytest.param(16, jnp.complex64, marks=pytest.mark.thorough),
    ],
    indirect=["group"],
)
def test_the_kernel_lowers_for_a_gpu(group, number):
    real, state = (jnp.float32, number) if number == jnp.complex64 else (number, jnp.float32)
    projection = number
    types = [real, real, state, projection, projection, jnp.float32, real, jnp.float32, state]
    shapes = [(2, 30, 64), (2, 30, 64), (64, 16), (2, 30, 16), (2, 30, 16), (64,), (2, 30, 64), (64,), (2, 64, 16)]
    arguments = [jax.ShapeDtypeStruct(*pair) for pair in zip(shapes, types, strict=True)]

    def loss(*arguments):
        y, last = fused_scan(*arguments, softplus=True)
        return y.astype(jnp.float32).sum() + jnp.real(last.sum())

    text = lowered_for_a_gpu(jax.grad(loss, argnums=range(9)), *arguments)
    assert text.count("__gpu$xla.gpu.triton") == 2


@pytest.mark.usefixtures("x64")
def test_single_precision_stays_so_where_double_is_allowed():
    problem = narrowed(random_problem(6, 2, 37, 8, 4))
    # Tracing decides all types; nothing is computed.
    gradients = jax.eval_shape(jax.grad(lambda x: interpreted(x, True)[0].sum()), problem)
    for name, gradient in gradients.items():
        assert gradient.dtype == problem[name].dtype == jnp.float32, name


@pytest.mark.thorough
@pytest.mark.usefixtures("short_chunks")
def test_under_vmap():
    problem = narrowed(random_problem(5, 2, 19, 8, 4))
    rates = jnp.stack([problem["A"], 2 * problem["A"]])

    def gradients(scan):
        def loss(A):
            y, _ = scan(problem | {"A": A}, True)
            return jnp.sum(jnp.sin(y))

        return jax.jit(jax.vmap(jax.grad(loss)))(rates)

    for found, expected in zip(gradients(interpreted), gradients(reference), strict=True):
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())
