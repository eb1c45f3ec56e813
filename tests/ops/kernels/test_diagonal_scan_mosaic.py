"""The kernels through Mosaic GPU, interpreted, against float64; and that they lower for a GPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

from ssm_bench.ops import diagonal
from ssm_bench.ops.kernels import diagonal_scan, walk
from ssm_bench.ops.kernels.diagonal_scan_mosaic import mosaic_states

from ..lowering import lowered_for_a_gpu
from .test_diagonal_scan import TOLERANCE, in_float64, random_system, values_and_gradients


@pytest.mark.skipif(jax.__version_info__ < (0, 11), reason="JAX 0.10 cannot interpret layout_cast")
def test_values_and_gradients(monkeypatch):
    monkeypatch.setattr(walk, "CHUNK", 4)
    monkeypatch.setattr(diagonal_scan, "PROGRAMS", 4)
    system = random_system(1, 18, 3, 128, 2)
    run = partial(diagonal.with_states, partial(mosaic_states, interpret=InterpretGPUParams()))
    found = values_and_gradients(run, *system)
    for ours, expected in zip(found, in_float64(system), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


def test_it_lowers_for_a_gpu():
    def run(v, log_a):
        return mosaic_states(v, log_a, 2).sum()

    v, log_a = jax.ShapeDtypeStruct((2, 4096, 256), jnp.float32), jax.ShapeDtypeStruct((128,), jnp.complex64)
    text = lowered_for_a_gpu(jax.grad(run, argnums=(0, 1)), v, log_a)
    assert text.count("@mosaic_gpu") == 5


def test_other_numbers_of_states_are_refused():
    with pytest.raises(ValueError, match="multiple of 128 states; got 192"):
        mosaic_states(jnp.zeros((1, 4, 384)), jnp.zeros(192, jnp.complex64), 1)
