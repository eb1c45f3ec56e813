"""Which backend runs, for every operation that has a kernel."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from ssm_bench.errors import UserError
from ssm_bench.ops import backends, diagonal_ssm, linear_recurrence, rg_lru, selective_scan, use_backend
from ssm_bench.ops.backends import choose_backend

from .lowering import lowered_for_a_gpu


def arrays(*shapes, dtype: Any = jnp.float32):
    return [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]


def diagonal(states, dtype: Any = jnp.float32):
    u, *system = *arrays((1, 32, 4), dtype=dtype), *arrays((states,), (states, 4), (4, states), dtype=jnp.complex64)
    return [u, *system]


def scan(states):
    return arrays((1, 16, 4), (1, 16, 4), (4, states), (1, 16, states), (1, 16, states))


class Case(NamedTuple):
    """An operation, and arrays for which its kernel is the best, runs but is not the best, and does not run."""

    operation: Any
    best: Any
    runs: Any
    neither: Any
    sentence: str


SHAPE = (1, 32, 8)
CASES = {
    "linear_recurrence": Case(
        linear_recurrence,
        arrays(SHAPE, SHAPE),
        arrays((8,), SHAPE),
        arrays(SHAPE, SHAPE, dtype=jnp.float64),
        "float32 or complex64; got cpu and float64",
    ),
    "diagonal_ssm": Case(
        diagonal_ssm,
        diagonal(4),
        diagonal(2),
        diagonal(4, jnp.float16),
        "float32 or bfloat16 inputs with complex64 eigenvalues; got cpu and float16 with complex64",
    ),
    "selective_scan": Case(
        selective_scan,
        scan(4),
        None,
        scan(3),
        "float32 or complex64 with n a power of two from 4 to 256, B and C (b, l, n) and no B_bias; got cpu and "
        "float32 with n = 3",
    ),
    "rg_lru": Case(
        rg_lru,
        arrays(SHAPE, SHAPE, SHAPE, (8,)),
        arrays(*[(1, 32, 6)] * 3, (6,)),
        arrays(SHAPE, SHAPE, SHAPE, (8,), dtype=jnp.float16),
        "a float32 state from float32 or bfloat16 inputs; got cpu and float32 from float16",
    ),
}


def kernels_in(operation, inputs, **backend):
    """Whether its program has a kernel."""
    return "gpu.triton" in lowered_for_a_gpu(lambda *arrays: operation(*arrays, **backend), *inputs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_a_kernel_runs_where_it_is_asked_for_or_the_best(monkeypatch, name):
    operation, best, runs, neither, sentence = CASES[name]
    assert not kernels_in(operation, best)
    with pytest.raises(UserError, match="needs an NVIDIA GPU and .*; got cpu and float32"):
        kernels_in(operation, best, backend="fused")

    monkeypatch.setattr(backends, "kernels_run", lambda: True)
    assert kernels_in(operation, best) and kernels_in(operation, best, backend="fused")
    for other in ("associative", "sequential"):
        assert not kernels_in(operation, best, backend=other)
        with use_backend(other):
            assert not kernels_in(operation, best) and kernels_in(operation, best, backend="fused")
    if runs:
        assert not kernels_in(operation, runs) and kernels_in(operation, runs, backend="fused")

    assert not kernels_in(operation, neither)
    with pytest.raises(UserError) as error:
        kernels_in(operation, neither, backend="fused")
    assert str(error.value).startswith(f'backend "fused" needs an NVIDIA GPU and {sentence}')
    with pytest.raises(UserError, match="unknown backend 'fusd' .*; allowed: associative, auto, fused, sequential"):
        kernels_in(operation, best, backend="fusd")


def test_what_auto_chose_is_said_once(caplog):
    backends._log_once.cache_clear()
    a, b = jnp.full((1, 8, 2), 0.5), jnp.ones((1, 8, 2))
    with caplog.at_level("INFO", logger="ssm_bench"):
        for _ in range(2):
            linear_recurrence(a, b)
            linear_recurrence(a, b, backend="associative")
    assert caplog.messages == ['linear_recurrence: backend "sequential" on cpu for float32']


def test_auto_means_what_the_context_says():
    with use_backend("associative"):
        assert choose_backend("auto") == "associative"
        assert choose_backend("sequential") == "sequential"
        with use_backend("sequential"):
            assert choose_backend("auto") == "sequential"
        assert choose_backend("auto") == "associative"
    outside = choose_backend("auto")
    with use_backend("auto"):
        assert choose_backend("auto") == outside
    with pytest.raises(UserError, match="fused"), use_backend("fused"):
        pass


def test_an_operation_without_a_kernel_takes_no_fused():
    with pytest.raises(UserError, match="unknown backend 'fused'; allowed: associative, auto, sequential"):
        choose_backend("fused")


def test_the_context_reaches_the_program():
    a, b = jnp.full((1, 8, 2), 0.5), jnp.ones((1, 8, 2))

    def text(backend):
        with use_backend(backend):
            return jax.jit(lambda a, b: linear_recurrence(a, b)).lower(a, b).as_text()

    assert "while" in text("sequential") and "while" not in text("associative")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_a_gpu_that_does_not_take_the_fast_path_logs_the_reason(monkeypatch, caplog, name):
    operation, best, runs, neither, _ = CASES[name]
    backends._log_once.cache_clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with caplog.at_level("INFO", logger="ssm_bench"):
        jax.eval_shape(operation, *best)
        assert "JAX with Pallas for Triton" in caplog.messages[-1]
        monkeypatch.setattr(backends, "kernels_run", lambda: True)
        jax.eval_shape(operation, *neither)
        assert f'{name}: backend "associative" on gpu for ' in "".join(caplog.messages)
        assert '; "fused" needs ' in "".join(caplog.messages)
        if runs:
            jax.eval_shape(operation, *runs)
            assert "not faster for arrays of these sizes" in "".join(caplog.messages)
