"""LinOSS: the authors' outputs and gradients, both rules solved step by step, and their energies."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ssm_bench.errors import UserError
from ssm_bench.mixers.linoss import LinOSS

GOLDEN = Path(__file__).parents[1] / "golden"
# float32, a scan against a loop.
FLOAT32 = 2e-5


def filled(name, arrays):
    width, count, _ = arrays["C"].shape
    mixer = LinOSS(width, state_size=count, discretization=name, rngs=nnx.Rngs(0))
    cell = mixer.forward
    for parameter, key in ((cell.A, "A"), (cell.step_logit, "steps"), (cell.B, "B"), (cell.C, "C"), (cell.D, "D")):
        parameter[...] = jnp.asarray(arrays[key])
    return mixer


def loop(name, arrays):
    """The implicit equations as a linear system for each step and oscillator."""
    x = arrays["x"].astype(float)
    A, dt = np.maximum(arrays["A"], 0.0), 1 / (1 + np.exp(-arrays["steps"].astype(float)))
    B, C = (arrays[key][..., 0] + 1j * arrays[key][..., 1] for key in ("B", "C"))
    y = x * arrays["D"]
    for row in range(len(x)):
        v, z = np.zeros(len(A), complex), np.zeros(len(A), complex)
        for t in range(x.shape[1]):
            for i, force in enumerate(B @ x[row, t]):
                if name == "im":
                    system = np.array([[1, dt[i] * A[i]], [-dt[i], 1]])
                    v[i], z[i] = np.linalg.solve(system, [v[i] + dt[i] * force, z[i]])
                else:
                    v[i] += dt[i] * (force - A[i] * z[i])
                    z[i] += dt[i] * v[i]
            y[row, t] += (C @ z).real
    return y


@pytest.mark.parametrize("name", ["im", "imex"])
def test_outputs_and_gradients_are_the_authors_and_those_of_the_loop(name):
    arrays = np.load(GOLDEN / f"linoss_{name}.npz")
    mixer = filled(name, arrays)
    graph, params = nnx.split(mixer)

    @jax.jit
    def run(params, x):
        y = nnx.merge(graph, params)(x)
        return (y * arrays["cotangent"]).sum(), y

    (_, y), gradients = jax.value_and_grad(run, has_aux=True)(params, arrays["x"])
    np.testing.assert_allclose(y, loop(name, arrays), rtol=FLOAT32, atol=FLOAT32 * np.abs(arrays["y"]).max())
    np.testing.assert_allclose(y, arrays["y"], rtol=FLOAT32, atol=FLOAT32 * np.abs(arrays["y"]).max())
    for ours, key in (("A", "A"), ("step_logit", "steps"), ("B", "B"), ("C", "C"), ("D", "D")):
        theirs = arrays[f"{key}_gradient"]
        np.testing.assert_allclose(
            gradients["forward"][ours][...], theirs, rtol=FLOAT32, atol=FLOAT32 * np.abs(theirs).max(), err_msg=key
        )


def test_the_implicit_rule_dissipates_and_the_other_conserves_volume():
    for name, largest in (("im", 1.0), ("imex", None)):
        transition, _ = LinOSS(4, state_size=9, discretization=name, rngs=nnx.Rngs(0)).forward._system()
        determinants = np.linalg.det(np.asarray(transition))
        if largest is None:
            np.testing.assert_allclose(determinants, 1.0, rtol=FLOAT32)
        else:
            assert (determinants < largest).all() and (np.abs(np.linalg.eigvals(transition)) < 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 0}, "state_size must be at least 1; got 0"),
        ({"discretization": "zoh"}, "discretization 'zoh'; allowed: im, imex"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(UserError, match=message):
        LinOSS(4, **options, rngs=nnx.Rngs(0))
