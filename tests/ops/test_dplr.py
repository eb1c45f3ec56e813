"""DPLR kernels against the authors' arrays and against the dense recurrence in float64."""

import inspect
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_bench.ops import (
    backends,
    diagonal_kernel,
    dplr,
    dplr_kernel,
    dplr_step,
    dplr_system,
    hippo_legs,
    hippo_legs_diagonal,
    hippo_legs_normal,
    restore_output,
    truncate_output,
    use_backend,
)
from ssm_bench.ops.kernels import cauchy

from . import oracles
from .lowering import lowered_for_a_gpu

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = ("Lambda", "P", "B", "C", "dt")
# The golden kernels are float32 and differ from the dense recurrence by up to 4e-6.
PARITY = 1e-5
# float32 near resonance, where 2 i sin - dt cos Lambda is a difference of close numbers.
FLOAT32 = 3e-5
# The kernel of GPUs in float32, values and gradients.
SUMS = 3e-5
# Dense float64 linear algebra, at most a hundred powers.
FLOAT64 = 1e-11

kernel_of = jax.jit(dplr_kernel, static_argnames=("length", "truncated"))
# Beneath its own jit, which would remember what it traced before something was replaced.
untraced_kernel = inspect.unwrap(dplr_kernel)


def dense_kernel(Lambda, P, B, C, dt, length):
    """C A_bar^k B_bar with all 2n states of each channel."""
    both = lambda x: np.concatenate([x, np.conj(x)], axis=-1).astype(np.complex128)  # noqa: E731
    Lambda, P, B, C, dt = both(Lambda), both(P), both(B), both(C), np.asarray(dt, np.float64)
    kernel = np.zeros((*C.shape[:2], length))
    for i in range(len(dt)):
        A = np.diag(Lambda[i]) - P[:, i].T @ P[:, i].conj()
        identity = np.eye(len(A))
        inverse = np.linalg.inv(identity - dt[i] / 2 * A)
        step, state = inverse @ (identity + dt[i] / 2 * A), inverse @ B[i] * dt[i]
        for k in range(length):
            kernel[:, i, k] = (C[:, i] @ state).real
            state = step @ state
    return kernel


def random_system(seed, rank=1, channels=2, h=3, n=4, log_dt=-1.0):
    rng = np.random.default_rng(seed)
    complex_normal = lambda *shape: rng.normal(size=shape) + 1j * rng.normal(size=shape)  # noqa: E731
    Lambda = -rng.uniform(0.1, 1.0, (h, n)) + 1j * rng.uniform(-30, 30, (h, n))
    dt = 10**log_dt * rng.uniform(0.5, 1, h)
    return Lambda, complex_normal(rank, h, n), complex_normal(h, n), complex_normal(channels, h, n), dt


def legs_system(n, dt, seed=0):
    """HiPPO-LegS with random outputs, one channel for each step size."""
    (Lambda, V), (_, P), (_, B) = hippo_legs_diagonal(n), hippo_legs_normal(n), hippo_legs(n)
    half = V[:, n // 2 :].conj().T
    C = np.random.default_rng(seed).normal(size=(1, len(dt), n // 2, 2)) @ [1, 1j]
    Lambda, P, B = (np.tile(x, (len(dt), 1)) for x in (Lambda[n // 2 :], half @ P, half @ B))
    return Lambda, P[None], B, C, dt


def narrowed(system):
    return [np.asarray(x, np.complex64 if np.iscomplexobj(x) else np.float32) for x in system]


@pytest.mark.parametrize("name", ["legs", "legt"])
def test_authors_kernels(name):
    golden = np.load(GOLDEN / f"s4_kernel_{name}.npz")
    kernel = kernel_of(*(golden[key] for key in NAMES), length=golden["K"].shape[-1])
    assert kernel.dtype == jnp.float32
    assert oracles.relative_error(kernel, golden["K"]) < PARITY


@settings(max_examples=5)
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.integers(0, 3),
    length=st.sampled_from([1, 2, 3, 17, 64]),
    log_dt=st.sampled_from([-1.0, -2.0, -4.0]),
)
def test_any_rank_length_and_step(seed, rank, length, log_dt):
    system = narrowed(random_system(seed, rank, log_dt=log_dt))
    kernel = kernel_of(*system, length=length)
    assert kernel.shape == (2, 3, length)
    assert oracles.relative_error(kernel, dense_kernel(*system, length)) < FLOAT32


@pytest.mark.parametrize(("rank", "length"), [(1, 40), (2, 33)])
def test_dense_recurrence_in_double_precision(x64, rank, length):
    system = random_system(1, rank)
    kernel = kernel_of(*system, length=length)
    assert oracles.relative_error(kernel, dense_kernel(*system, length)) < FLOAT64


def test_rank_zero_is_the_diagonal_kernel(x64):
    Lambda, P, B, C, dt = random_system(2, rank=0)
    expected = jax.jit(partial(diagonal_kernel, length=20, discretization="bilinear"))(Lambda, B, C, dt)
    assert oracles.relative_error(kernel_of(Lambda, P, B, C, dt, length=20), expected) < FLOAT64


def test_long_kernels_of_published_size():
    """64 states over 4096 steps: from steps so small that the state never forgets to steps that wrap the phases."""
    system = narrowed(legs_system(64, np.array([1e-4, 1e-2, 1e-1])))
    kernel, expected = kernel_of(*system, length=4096), dense_kernel(*system, 4096)
    for i in range(3):
        assert oracles.relative_error(kernel[:, i], expected[:, i]) < FLOAT32


@pytest.mark.parametrize(("rank", "length"), [(1, 16), (2, 21), (0, 1)])
def test_truncated_outputs(x64, rank, length):
    """C (I - A_bar^length) by powers of the dense matrix, there and back, and the kernel that it gives."""
    Lambda, P, B, C, dt = random_system(8, rank)
    found = truncate_output(Lambda, P, C, dt, length)
    both = lambda x: np.concatenate([x, np.conj(x)], axis=-1)  # noqa: E731
    for i in range(len(dt)):
        A = dt[i] / 2 * (np.diag(both(Lambda)[i]) - both(P)[:, i].T @ both(P)[:, i].conj())
        step = np.linalg.solve(np.eye(len(A)) - A, np.eye(len(A)) + A)
        expected = both(C)[:, i] @ (np.eye(len(A)) - np.linalg.matrix_power(step, length))
        np.testing.assert_allclose(both(found)[:, i], expected, rtol=FLOAT64, atol=FLOAT64)
    np.testing.assert_allclose(restore_output(Lambda, P, found, dt, length), C, rtol=FLOAT64, atol=FLOAT64)
    kernel = kernel_of(Lambda, P, B, found, dt, length=length, truncated=True)
    assert oracles.relative_error(kernel, dense_kernel(Lambda, P, B, C, dt, length)) < FLOAT64


@pytest.mark.parametrize("length", [32, 1024])
def test_restored_outputs_where_little_decays(length):
    """float32 against float64, from steps over which the state keeps almost everything."""
    Lambda, P, _, C, dt = narrowed(legs_system(64, np.array([1e-4, 1e-3, 1e-2, 1e-1])))
    Lambda.real *= 1e-3
    found = restore_output(Lambda, P, C, dt, length)
    with jax.enable_x64(True):
        wide = [np.asarray(x, np.complex128) for x in (Lambda, P, C)]
        expected = restore_output(*wide, dt.astype(np.float64), length)
    for i in range(len(dt)):
        assert oracles.relative_error(found[:, i], expected[:, i]) < FLOAT32


@jax.jit
def stepped_kernel(Lambda, P, B, C, dt, impulse):
    """The answer to an impulse (l,), step by step."""
    system = dplr_system(Lambda, P, B, dt)

    def step(state, u_t):
        state = dplr_step(system, jnp.broadcast_to(u_t, (1, len(dt))), state)
        return state, 2 * jnp.real(jnp.einsum("chn,hn->ch", C, state[0]))

    return jnp.moveaxis(jax.lax.scan(step, jnp.zeros((1, *B.shape), B.dtype), impulse)[1], 0, -1)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), rank=st.integers(0, 3), log_dt=st.sampled_from([0.0, -1.0, -4.0]))
def test_steps_of_any_rank(seed, rank, log_dt):
    system = random_system(seed, rank, log_dt=log_dt)
    expected = dense_kernel(*system, 12)
    impulse = np.eye(12)[0]
    assert oracles.relative_error(stepped_kernel(*narrowed([*system, impulse])), expected) < FLOAT32
    with jax.enable_x64(True):
        assert oracles.relative_error(stepped_kernel(*system, impulse), expected) < FLOAT64


def test_many_steps_of_hippo():
    """As far as the kernel, with steps of every size."""
    system = narrowed(legs_system(64, np.array([1e-4, 1e-2, 1e-1])))
    found = stepped_kernel(*system, np.eye(1024, dtype=np.float32)[0])
    assert oracles.relative_error(found, dense_kernel(*system, 1024)) < FLOAT32


def test_gradients(x64):
    system = [jnp.asarray(x) for x in random_system(3, rank=2, channels=1, h=2, n=2)]

    def plain(Lambda, P, B, C, dt):
        """The dense recurrence, unrolled."""
        Lambda, P, B, C = (jnp.concatenate([x, jnp.conj(x)], axis=-1) for x in (Lambda, P, B, C))
        A = dt[:, None, None] / 2 * (Lambda[..., None] * jnp.eye(4) - jnp.einsum("rhi,rhj->hij", P, jnp.conj(P)))
        inverse = jnp.linalg.inv(jnp.eye(4) - A)
        state, taps = jnp.einsum("hij,hj->hi", inverse, B) * dt[:, None], []
        for _ in range(6):
            taps.append(jnp.einsum("chi,hi->ch", C, state).real)
            state = jnp.einsum("hij,hj->hi", inverse @ (jnp.eye(4) + A), state)
        return jnp.stack(taps, -1)

    def gradients(function):
        return jax.jit(jax.grad(lambda *x: jnp.sum(jnp.sin(3 * function(*x))), argnums=range(5)))(*system)

    for found, expected in zip(gradients(lambda *x: dplr_kernel(*x, 6)), gradients(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_blocks_of_frequencies_change_nothing(x64, monkeypatch):
    system = random_system(4)
    whole = kernel_of(*system, length=30)
    monkeypatch.setattr(dplr, "_BLOCK_NUMBERS", 5 * 12)
    blocks = jax.jit(lambda *x: untraced_kernel(*x, 30))(*system)
    np.testing.assert_allclose(blocks, whole, rtol=FLOAT64, atol=FLOAT64)


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Takes the kernel of GPUs, in the interpreter."""
    monkeypatch.setattr(backends, "kernels_run", lambda: True)
    monkeypatch.setattr(cauchy, "fused_sums", partial(cauchy.fused_sums, interpret=True))
    # Less to interpret.
    monkeypatch.setattr(cauchy, "_CHUNK", 2)


def kernel_and_gradients(*system):
    def loss(*x):
        kernel = untraced_kernel(*x, 30)
        return jnp.sum(jnp.sin(3 * kernel)), kernel

    gradients, kernel = jax.grad(loss, argnums=range(5), has_aux=True)(*system)
    return kernel, gradients


# One sum; and the sums over pairs that any other rank has.
@pytest.mark.parametrize("rank", [0, 2])
def test_the_kernel_of_gpus_is_the_same(rank, x64, on_a_gpu):
    """Values and gradients, also of two systems at once."""
    systems = [np.stack(pair) for pair in zip(random_system(7, rank=rank), random_system(8, rank=rank), strict=True)]
    found = jax.jit(jax.vmap(kernel_and_gradients))(*narrowed(systems))
    expected = jax.jit(jax.vmap(kernel_and_gradients))(*systems)
    for ours, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert ours.dtype in (jnp.float32, jnp.complex64) and exact.dtype in (jnp.float64, jnp.complex128)
        np.testing.assert_allclose(ours, exact, rtol=0, atol=SUMS * abs(exact).max(initial=0))


@pytest.mark.parametrize("gpu", [False, True])
def test_gradients_of_slow_modes_are_finite(gpu, request):
    """Decay and step so small that the square of the squared modulus is no float32."""
    if gpu:
        request.getfixturevalue("on_a_gpu")
    decay, one, dt = np.full((1, 1), -1e-4), np.ones((1, 1)), np.full(1, 1e-4)
    system = narrowed([decay + 0j, 1e-4 * one[None] + 0j, one + 0j, one[None] + 0j, dt])
    gradients = jax.jit(jax.grad(lambda *x: untraced_kernel(*x, 8).sum(), argnums=range(5)))(*system)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("length", [30, 1000])
def test_it_lowers_for_a_gpu(length, monkeypatch):
    monkeypatch.setattr(backends, "kernels_run", lambda: True)
    system = narrowed(random_system(9))
    gradients = jax.grad(lambda *x: jnp.sum(untraced_kernel(*x, length)), argnums=range(5))
    # The kernel and its gradients.
    assert lowered_for_a_gpu(gradients, *system).count("__gpu$xla.gpu.triton") == 2
    with use_backend("associative"):
        assert "triton" not in lowered_for_a_gpu(lambda *x: jnp.sum(untraced_kernel(*x, length)), *system)


def test_under_vmap(x64):
    Lambda, P, B, C, dt = random_system(5)
    rows = np.stack([C, 2 * C])
    mapped = jax.jit(jax.vmap(lambda C: dplr_kernel(Lambda, P, B, C, dt, 8)))(rows)
    np.testing.assert_allclose(mapped[1], 2 * mapped[0], rtol=FLOAT64, atol=FLOAT64)
    np.testing.assert_allclose(mapped[0], kernel_of(Lambda, P, B, C, dt, length=8), rtol=FLOAT64, atol=FLOAT64)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("Lambda", np.ones(4), r"Lambda must be \(h, n\)"),
        ("P", np.ones((3, 4)), r"P must be \(rank, h, n\) with \(h, n\) = \(3, 4\), got shape \(3, 4\)"),
        ("B", np.ones((3, 5)), r"B must have shape \(3, 4\)"),
        ("C", np.ones((2, 3, 5)), r"C must be \(channels, h, n\)"),
        ("dt", np.ones((3, 1)), r"dt must have shape \(3,\)"),
        ("length", 0, "length must be at least 1, got 0"),
    ],
)
def test_shapes_that_do_not_fit(name, array, message):
    arguments = dict(zip(NAMES, random_system(6), strict=True)) | {"length": 8, name: array}
    with pytest.raises(ValueError, match=message):
        dplr_kernel(**arguments)
